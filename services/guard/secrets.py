"""Secrets by the forms that their issuers give them, and by the name they are given; random enough to be real."""

import base64
import json
import math
import re
from collections import Counter

from services.guard.pattern import Pattern

ISSUED = {
    "aws-access-key": r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    "aws-bedrock-key": r"\bABSK[A-Za-z0-9+/]{60,}={0,2}",
    "gcp-api-key": r"\bAIza[\w\-]{35}\b",
    "google-oauth": r"\bya29\.[\w\-]{20,}|\bGOCSPX-[\w\-]{28}\b",
    "github-token": r"\bgh[pousr]_[0-9A-Za-z]{36,}\b|\bgithub_pat_\w{82}\b",
    "gitlab-token": r"\bgl(?:pat|ptt|dt|rt|ft|soat|imt|oas|agent|cbt|feat|ffct|ssp)-[\w\-=.]{16,}\b|\bGR1348941[\w\-]{20}\b|\bglft-[\w\-]{20}\b|\bglrt-\w{20}\b|\b_gitlab_session=[0-9a-z]{32}",
    "slack-token": r"(?i)\bxox[aboeprs](?:.xox[bp])?-(?:\d-)?[0-9A-Za-z\-]{10,}\b|\bxapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+|\bxoxe-\d-[a-z0-9]{146}",
    "slack-webhook": r"\b(?:https?://)?hooks.slack.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{43,56}",
    "stripe-key": r"\b(?:sk|rk|pk)_(?:test|live|prod)_[A-Za-z0-9]{10,99}\b",
    "openai-key": r"\bsk-(?:proj|svcacct|admin|None)?-?[\w\-]{16,}T3BlbkFJ[\w\-]{16,}|\bsk-[A-Za-z0-9]{40,64}\b|\bsk-(?:proj|svcacct|admin)-[\w\-]{40,200}",
    "anthropic-key": r"\bsk-ant-(?:api03|admin01|sid01|oat01)-[\w\-]{80,120}",
    "openrouter-key": r"\bsk-or-v1-[0-9a-f]{64}\b",
    "groq-xai-key": r"\bgsk_[A-Za-z0-9]{40,60}\b|\bxai-[A-Za-z0-9]{60,100}\b",
    "huggingface-token": r"\b(?:hf_[A-Za-z]{34}|api_org_[A-Za-z]{34})\b",
    "perplexity-key": r"\bpplx-[A-Za-z0-9]{48}\b",
    "replicate-token": r"\br8_[A-Za-z0-9]{37}\b",
    "jwt": r"\bey[A-Za-z0-9]{17,}\.ey[A-Za-z0-9/_\-]{17,}\.(?:[A-Za-z0-9/_\-]{10,}={0,2})?|\bZXlK[A-Za-z0-9+/_\-]{60,}={0,2}",
    "pem": r"(?s)-----BEGIN[ A-Z0-9_\-]{0,100}PRIVATE KEY(?: BLOCK)?-----[^-]{20,}-----END[ A-Z0-9_\-]{0,100}PRIVATE KEY(?: BLOCK)?-----|-----BEGIN[ A-Z0-9_\-]{0,100}PRIVATE KEY(?: BLOCK)?-----[\sA-Za-z0-9+/=]{20,}",
    "npm-token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "pypi-token": r"\bpypi-AgEIcHlwaS5vcmc[\w\-]{50,}",
    "rubygems-token": r"\brubygems_[a-f0-9]{48}\b",
    "clojars-token": r"(?i)\bCLOJARS_[a-z0-9]{60}\b",
    "dockerhub-token": r"\bdckr_(?:pat|oat)_[\w\-]{27,36}\b",
    "digitalocean-token": r"\bdo[opr]_v1_[a-f0-9]{64}\b",
    "doppler-token": r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._\-]{40,64}",
    "databricks-token": r"\bdapi[a-f0-9]{32}(?:-\d)?\b",
    "duffel-token": r"\bduffel_(?:test|live)_[\w\-=]{43}",
    "dynatrace-token": r"(?i)\bdt0c01\.[a-z0-9]{24}\.[a-z0-9]{64}\b",
    "easypost-token": r"(?i)\bEZ[AT]K[a-z0-9]{54}\b",
    "fly-token": r"\bfo1_[\w\-]{43}\b|\bfm[12][ar]?_[A-Za-z0-9+/]{100,}={0,3}|\bfm2_[A-Za-z0-9+/]{100,}={0,3}",
    "flutterwave-key": r"(?i)\bFLW(?:PUBK|SECK)_TEST-?[a-h0-9]{12,32}(?:-X)?\b",
    "frameio-token": r"(?i)\bfio-u-[\w\-=]{64}",
    "grafana-key": r"\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}\b|\bglc_[A-Za-z0-9+/]{32,}={0,3}|\beyJrIjoi[A-Za-z0-9]{70,}={0,3}",
    "hashicorp-token": r"(?i)\b[a-z0-9]{14}\.atlasv1\.[a-z0-9\-_=]{60,70}",
    "vault-token": r"\bhv[sbr]\.[\w\-]{20,}\b|\bs\.[A-Za-z]*\d[A-Za-z0-9]{15,24}\b|\bhvb\.[\w\-]{138,}",
    "heroku-key": r"\bHRKU-AA[\w\-]{58}\b",
    "infracost-token": r"\bico-[a-zA-Z0-9]{32}\b",
    "intra42-token": r"\bs-s4t2(?:ud|af)-[a-f0-9]{64}\b",
    "linear-key": r"(?i)\blin_api_[a-z0-9]{40}\b",
    "mailgun-key": r"\b(?:key|pubkey)-[a-f0-9]{32}\b|\b[a-h0-9]{32}-[a-h0-9]{8}-[a-h0-9]{8}\b",
    "mapbox-token": r"(?i)\b[ps]k\.[a-z0-9]{60}\.[a-z0-9]{22}\b",
    "maxmind-key": r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b",
    "microsoft-webhook": r"https://[a-z0-9]+\.webhook\.office\.com/webhookb2/[a-z0-9\-]{36}@[a-z0-9\-]{36}/IncomingWebhook/[a-z0-9]{32}/[a-z0-9\-]{36}",
    "azure-secret": r"\b[a-zA-Z0-9_~.]{3}\dQ~[a-zA-Z0-9_~.\-]{31,34}",
    "azure-connection": r"(?i)AccountKey=([A-Za-z0-9+/]{86}==)",
    "new-relic-key": r"(?i)\bNRAK-[a-z0-9]{27}\b|\bNRII-[a-z0-9\-]{32}|\bNRJS-[a-f0-9]{19}\b",
    "notion-token": r"\bntn_\d{11}[A-Za-z0-9]{35}\b|\bsecret_[A-Za-z0-9]{43}\b",
    "octopus-key": r"\bAPI-[A-Z0-9]{26}\b",
    "okta-token": r"\b00[\w=\-]{40}\b",
    "1password-token": r"\bops_eyJ[a-zA-Z0-9+/]{200,}={0,3}|\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}\b",
    "openshift-token": r"\bsha256~[\w\-]{43}",
    "planetscale-token": r"(?i)\bpscale_(?:tkn|oauth|pw)_[\w\-=.]{32,64}",
    "postman-key": r"(?i)\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}\b",
    "prefect-token": r"\bpnu_[a-z0-9A-Z]{36}\b",
    "pulumi-token": r"\bpul-[a-f0-9]{40}\b",
    "readme-key": r"\brdme_[a-z0-9]{70}\b",
    "scalingo-token": r"\btk-us-[\w\-]{48}\b",
    "sendgrid-key": r"(?i)\bSG\.[a-z0-9=_\-.]{22}\.?[a-z0-9=_\-.]{40,46}",
    "sendinblue-key": r"(?i)\bxkeysib-[a-f0-9]{64}-[a-z0-9]{16}\b",
    "sentry-token": r"\bsntry[su]_[A-Za-z0-9+/=_\-]{60,}",
    "settlemint-token": r"\bsm_(?:aat|pat|sat)_[a-zA-Z0-9]{16}\b",
    "shippo-token": r"\bshippo_(?:live|test)_[a-fA-F0-9]{40}\b",
    "shopify-token": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",
    "sidekiq-url": r"(?i)\bhttps?://([a-f0-9]{8}:[a-f0-9]{8})@(?:gems|enterprise)\.contribsys\.com",
    "square-token": r"\b(?:EAAA|sq0atp-|sq0csp-)[\w\-+/=]{22,60}\b",
    "telegram-token": r"\b\d{5,16}:(?i:A[a-z0-9_\-]{34})\b",
    "twilio-key": r"\bSK[0-9a-fA-F]{32}\b|\bAC[a-f0-9]{32}\b",
    "typeform-token": r"(?i)\btfp_[a-z0-9\-_.=]{59}",
    "yandex-token": r"\bt1\.[A-Z0-9a-z_\-]+={0,2}\.[A-Z0-9a-z_\-]{86}={0,2}|\bAQVN[A-Za-z0-9_\-]{35,38}\b|\bYC[a-zA-Z0-9_\-]{38}\b",
    "adafruit-key": r"\baio_[a-zA-Z0-9]{28}\b",
    "adobe-secret": r"(?i)\bp8e-[a-z0-9]{32}\b",
    "age-key": r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\b",
    "airtable-token": r"\bpat[a-zA-Z0-9]{14}\.[a-f0-9]{64}\b",
    "alibaba-key": r"(?i)\bLTAI[a-z0-9]{20}\b",
    "artifactory-key": r"\bAKCp[A-Za-z0-9]{69}\b|\bcmVmd[A-Za-z0-9]{59}\b",
    "atlassian-token": r"\bATATT3[A-Za-z0-9_\-=]{186}|\bATCTT3[A-Za-z0-9_\-=]{40,}",
    "cisco-token": r"\bY2lzY29zcGFyazov[A-Za-z0-9+/=]{20,}",
    "clickhouse-key": r"\b4b1d[A-Za-z0-9]{38}\b",
    "cloudflare-key": r"\bv1\.0-[a-f0-9]{24}-[a-f0-9]{146}\b",
    "defined-token": r"\bdnkey-[a-z0-9=_\-]{26}-[a-z0-9=_\-]{52}",
    "facebook-token": r"\bEAA[MC][a-zA-Z0-9]{100,}\b|\b\d{15,16}(?:\||%)[0-9a-zA-Z\-_]{27,40}",
    "harness-key": r"\b(?:pat|sat)\.[a-zA-Z0-9_\-]{22}\.[a-zA-Z0-9]{24}\.[a-zA-Z0-9]{20}\b",
    "lob-key": r"(?i)\b(?:live|test)_(?:pub_)?[a-f0-9]{31,35}\b",
    "nuget-key": r"\boy2[a-z0-9]{43}\b",
    "snowcloud-token": r"\bsc(?:auth)?_[a-z0-9._\-]{20,40}\.acc[_\-][a-z0-9._\-+=]{40,}",
    "sonar-token": r"\b(?:squ|sqp|sqa)_[a-z0-9=_\-]{40}\b",
    "tollway-key": r"\btw_[\w\-]{43}\b",
    "vercel-supabase": r"\bsb(?:p|_secret|_publishable)_[A-Za-z0-9_\-]{20,60}\b|\bvc[pirk]_[A-Za-z0-9]{24,}\b",
    "figma-token": r"\bfig[dur]_[\w\-]{40,60}",
    "discord-token": r"\b[MNO][A-Za-z0-9]{23,27}\.[\w\-]{6}\.[\w\-]{27,40}",
    "mailchimp-key": r"\b[a-f0-9]{32}-us\d{1,2}\b",
    "freemius-key": r"\bsk_[A-Za-z0-9!@#$%^&*()_+\-=\[\]{};:,./?~]{29}\b",
    "kubernetes-secret": r"(?s)kind:\s*[\"']?Secret[\"']?.{0,400}?data:\s*[\w.\-]+:\s*([A-Za-z0-9+/]{10,}={0,2})",
    "curl-basic": r"(?i)\bcurl\b[^\n]{0,200}\s(?:-u|--user)[ =]?[\"']?[\w.@\-]{1,64}:([^\s\"']{3,128})",
}  # fmt: skip

NEAR = {
    "okta-token": r"\bokta|\bssws\b",
    "mailchimp-key": "mailchimp|mc_api|key|token",
    "sidekiq-url": "",
    "cloudflare-key": "",
}
"""Forms too plain to be believed without a word beside them."""
SDK = r"SDK\.init\w*\(\s*\w*\s*[:=]?\s*[\"']?$"
"""What an app hands to its own SDK is in everybody's hands."""
FAR = {
    "infracost-token": r"[/.]$",
    "azure-secret": r"[,\w~]$",
    "mailchimp-key": SDK,
    "password": r":[ \t]*\n[ \t]{4,}$",  # what a program does when there is one
    # These guard a form or mark a place in a list: they open nothing.
    "named-secret": rf"(?:[cx]srf|next_?page)[-_]?token\b\W{{1,5}}$|{SDK}",
}

NAMED = (
    r"(?i)(?:api[_\- ]?key|access[_\- ]?key|secret[_\- ]?key|client[_\- ]?secret|auth[_\- ]?token|access[_\- ]?token|refresh[_\- ]?token"
    r"|bearer[_\- ]?token|private[_\- ]?key|signing[_\- ]?key|encryption[_\- ]?key|credential|secret|token|passphrase|api_token|apikey"
    r"|x-api-key|webhook[_\- ]?secret|license[_\- ]?key)\b[\"']?\]?\s*(?:=>|:=|=|:|\bis\b)\s*[\"'`]?([^\s\"'`<>,;]{10,})"
)
PASSWORD = (
    r"(?i)\b[\w\-]{0,24}(?:password|passwd|pwd|passwort|mot de passe|contraseña|wachtwoord|senha|hasło)[\"']?\]?\s*(?:=>|:=|=|:|\bis\b|\bist\b)\s*"
    r"[\"'`]?([^\s\"'`<>]{5,128})"
)
BEARER = r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+([^\s\"'`<>]{8,})|\bbearer\s+([A-Za-z0-9._~+/=\-]{20,})"
BLANK = re.compile(
    r"(?i)example|sample|dummy|placeholder|changeme|redacted|your[_\-]|insert|replace|<[^>]*>|\$\{|\{\{|x{4,}|\*{3,}|\.{3,}|0{8,}|1234567|1234-1234|abcdef|password|-string|base64\(|^[{(]|"
    r"^test$|process\.env|os\.environ|getenv|^env:|^none$|^null$|^true$|^false$|\(\)$|^required$|^\[|^%\w+%$"
)
UUID = re.compile(r"(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
WORDY = re.compile(r"^[A-Za-z]+$|^[a-z]+(?:[_\-.][a-z]+)+$|^[A-Z]+(?:_[A-Z]+)+$")
EXPRESSION = re.compile(
    r"[*&!~]*((?:\$?[A-Za-z_]\w*(?:\.|->|::|\?\.))*\$?[A-Za-z_]\w*)"  # a name, and what it is of
    r"(\.?[(\[{](?=$|[A-Za-z_&*\[\](){}:.\-]|\d{1,4}(?:[:\])]|$))|$)"  # asked, looked into or a type of something
)
OF = re.compile(r"\.|->|::")
OWN = re.compile(
    r"(?:self|this|cls|args|kwargs|config|settings|opts|options|params|request|req|response|res|env|ctx|props|state)\."
)
TYPES = frozenset(("Annotated", "Final", "List", "NotRequired", "Optional", "Required", "Sequence", "Union"))
HUMPED = re.compile(r"[a-z][A-Z]")
PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def expression(text: str) -> bool:
    """Whether a value is code that makes it, or its type: `self._param(`, `rsa.PrivateKey`, `Optional[str]`, `_ApiKey`."""
    return _expressed(text) is not None


def _expressed(text: str) -> tuple[str, str] | None:
    """The name that an expression begins with, and the bracket behind it, if any; None for what is no expression."""
    found = EXPRESSION.match(text)
    if found is None or not _worded(found[1]):
        return None
    name, opened = found[1], found[2]
    plain = "_" in name and not any(map(str.isdigit, name))  # people choose `Summer_Rain_42`
    return (name, opened) if opened or plain or OF.search(name) else None


def _worded(name: str) -> bool:
    """Whether an identifier is made of words: where characters come by chance, few of a kind stand together."""
    for part in re.findall(r"[A-Za-z0-9]+", name):
        pieces = PIECES.findall(part)
        words = [piece for piece in pieces if piece.isalpha()]
        if len(pieces) - len(words) > 1 or (len(part) > 3 and sum(map(len, words)) < 3 * len(words)):
            return False
    return True


def entropy(text: str) -> float:
    """Shannon's, in bits a character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def real(text: str) -> bool:
    """Whether an issued form is random enough: documentation shows the same forms with words in them."""
    return BLANK.search(text) is None and entropy(text) >= 2.5


CLAIMS = frozenset(
    "iss sub aud exp nbf iat jti sid azp scope scp roles role groups email name uid user user_id userid username tenant tid"
    " org client_id permissions admin nonce".split()
)
"""What a token says of whom it is for or how long it holds: without any of these it opens nothing."""


def speaks_for_somebody(text: str) -> bool:
    """Whether a JSON Web Token says for whom it is, or cannot be read."""
    if not real(text):
        return False
    payload = text.split(".")[1] if text.count(".") >= 2 else ""
    try:
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return True
    return not isinstance(said, dict) or not said or bool(CLAIMS & {str(name).lower() for name in said})


def random_enough(text: str) -> bool:
    """The same for a value that only its name calls a secret."""
    if (
        BLANK.search(text)
        or UUID.match(text)
        or WORDY.match(text)
        or expression(text)
        or text.startswith(("http://", "https://", "/", "./"))
    ):
        return False
    return entropy(text) >= 3.0 and (not text.startswith("ey") or speaks_for_somebody(text))


def passwordish(text: str) -> bool:
    text = text.rstrip(".,;:)")
    if BLANK.search(text) or len(text) < 5 or _looked_up(text):
        return False
    return not text.isalpha() or not (text.islower() or text.istitle())


def _looked_up(text: str) -> bool:
    """Whether code stands in a password's place. People choose words with brackets and dots: more must speak for it than elsewhere."""
    if (found := _expressed(text)) is None:
        return False
    name, opened = found
    told = "_" in name or "." in name or text.endswith(opened) or name in TYPES or HUMPED.search(name) is not None
    return OWN.match(text) is not None or (opened != "" and told)


CHECKS = {"jwt": speaks_for_somebody, "vault-token": lambda text: real(text) and not expression(text)}
"""Of forms that more must be asked of than chance."""

PATTERNS = (
    *(
        Pattern(
            name,
            "SECRET",
            regex,
            0.95,
            "the form its issuer gives it",
            CHECKS.get(name, real),
            NEAR.get(name, ""),
            FAR.get(name, ""),
            group=1 if "(" in regex.replace("(?", "") else 0,
        )
        for name, regex in ISSUED.items()
    ),
    Pattern(
        "named-secret",
        "SECRET",
        NAMED,
        0.8,
        "a random value under a telling name",
        random_enough,
        "",
        FAR["named-secret"],
        group=1,
    ),
    Pattern(
        "password",
        "SECRET",
        PASSWORD,
        0.75,
        "a value under the name of a password",
        passwordish,
        "",
        FAR["password"],
        group=1,
    ),
    Pattern("bearer", "SECRET", BEARER, 0.85, "a credential in an authorization header", random_enough, group=1),
)
