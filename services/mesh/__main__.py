"""`python -m services.mesh` is the `tollway` command."""

from services.mesh.cli import app

if __name__ == "__main__":
    app(prog_name="tollway")
