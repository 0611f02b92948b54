//! A Tollway client: a completion, a stream that is cancelled, a deadline, errors taken apart, the guard and the ledger.
use std::{env, error::Error, fs, time::Duration};

use tokio_stream::StreamExt;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt;

#[allow(clippy::all, dead_code)]
mod stubs {
    include!(concat!(env!("OUT_DIR"), "/tollway.rs"));
}
use stubs::tollway::{
    chat::v1::{ChatRequest, ContentPart, Message, Role, content_part::Part},
    gateway::v1::{CompleteRequest, StreamCompleteRequest, gateway_service_client::GatewayServiceClient},
    guard::v1::{AnalyzeRequest, guard_service_client::GuardServiceClient},
    ledger::v1::{QueryUsageRequest, ledger_service_client::LedgerServiceClient},
};

type Failure = Box<dyn Error>;

fn setting(name: &str) -> String {
    env::var(format!("TOLLWAY_{name}")).unwrap_or_default()
}

/// The API key rides along with every call.
#[derive(Clone)]
struct ApiKey(MetadataValue<Ascii>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, ApiKey>;

async fn dial(target: &str) -> Result<Authorized, Failure> {
    let key = ApiKey(format!("Bearer {}", setting("API_KEY")).parse()?);
    let channel = if setting("CA").is_empty() {
        Endpoint::from_shared(format!("http://{target}"))? // on this machine alone
    } else {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(fs::read(setting("CA"))?))
            .identity(Identity::from_pem(fs::read(setting("CERT"))?, fs::read(setting("KEY"))?));
        Endpoint::from_shared(format!("https://{target}"))?.tls_config(tls)?
    };
    Ok(InterceptedService::new(channel.connect().await?, key))
}

fn prompt(model: &str, text: &str) -> Option<ChatRequest> {
    let part = ContentPart { part: Some(Part::Text(text.into())), ..Default::default() };
    let message = Message { role: Role::User.into(), parts: vec![part], ..Default::default() };
    Some(ChatRequest { model: model.into(), messages: vec![message], ..Default::default() })
}

fn within<T>(seconds: f64, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs_f64(seconds));
    request
}

/// gRPC's name of a code, as every language writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "CANCELLED",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "UNAVAILABLE",
        _ => "OTHER",
    }
}

/// Takes a rich error apart: what to branch on, what to mend, when to try again.
fn explain(status: &Status) -> String {
    let mut words = vec![format!("error: {}", name(status.code()))];
    let details = status.get_error_details();
    words.extend(details.error_info().map(|info| format!("reason={}", info.reason)));
    if let Some(bad) = details.bad_request() {
        words.extend(bad.field_violations.iter().map(|one| format!("field={}", one.field)));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        words.push(format!("retry_after={}s", delay.as_secs_f64()));
    }
    words.join(" ")
}

/// What the archive's service config says of retries, in the words of this language: tonic reads no service config.
/// Only for calls that are safe to repeat; completions are not among them.
async fn retried<A, F>(mut call: impl FnMut() -> F) -> Result<A, Status>
where
    F: Future<Output = Result<A, Status>>,
{
    let mut wait = Duration::from_millis(50);
    for _ in 1..3 {
        match call().await {
            Err(status) if status.code() == Code::Unavailable => tokio::time::sleep(wait).await,
            other => return other,
        }
        wait = (wait * 2).min(Duration::from_millis(500));
    }
    call().await
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let model = setting("MODEL");
    let mut gateway = GatewayServiceClient::new(dial(&setting("GATEWAY")).await?);

    let asked = CompleteRequest { chat: prompt(&model, "Hello from Rust"), ..Default::default() };
    let answer = gateway.complete(within(30.0, asked)).await?.into_inner();
    let message = answer.completion.and_then(|mut one| one.choices.remove(0).message);
    match message.and_then(|mut one| one.parts.remove(0).part) {
        Some(Part::Text(text)) => println!("completion: {text}"),
        other => println!("completion: {other:?}"),
    }

    let chat = prompt(&model, "one two three four five six seven eight");
    let mut stream = gateway.stream_complete(StreamCompleteRequest { chat, ..Default::default() }).await?.into_inner();
    for _ in 0..3 {
        stream.next().await.ok_or("the stream ended before it was cancelled")??;
    }
    drop(stream); // which cancels the call, and the provider's behind it
    println!("stream: CANCELLED after 3 messages");

    let late = CompleteRequest { chat: prompt(&model, "too late"), ..Default::default() };
    let code = match gateway.complete(within(0.001, late)).await {
        Ok(_) => return Err("an answer within a millisecond".into()),
        // tonic's own clock says CANCELLED where the server's says DEADLINE_EXCEEDED
        Err(status) if status.code() == Code::Cancelled => Code::DeadlineExceeded,
        Err(status) => status.code(),
    };
    println!("deadline: {}", name(code));

    let mut hot = prompt(&model, "Hello");
    hot.iter_mut().for_each(|chat| chat.temperature = Some(9.0));
    if let Err(status) = gateway.complete(CompleteRequest { chat: hot, ..Default::default() }).await {
        println!("{}", explain(&status));
    }
    let busy = setting("BUSY_MODEL");
    if !busy.is_empty() {
        let asked = CompleteRequest { chat: prompt(&busy, "Hello"), ..Default::default() };
        if let Err(status) = gateway.complete(asked).await {
            println!("{}", explain(&status));
        }
    }

    let guard = GuardServiceClient::new(dial(&setting("GUARD")).await?);
    let seen = retried(|| {
        let mut guard = guard.clone();
        async move { guard.analyze(within(30.0, AnalyzeRequest { text: "Mail ada@example.com".into() })).await }
    })
    .await?;
    println!("guard: {}", seen.into_inner().findings[0].r#type);

    let ledger = LedgerServiceClient::new(dial(&setting("LEDGER")).await?);
    let usage = retried(|| {
        let mut ledger = ledger.clone();
        let query = QueryUsageRequest { group_by: "account".into(), ..Default::default() };
        async move { ledger.query_usage(within(30.0, query)).await }
    })
    .await?;
    println!("ledger: {}", usage.into_inner().rows[0].group);
    Ok(())
}
