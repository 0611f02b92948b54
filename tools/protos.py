"""Packs the contracts into `dist/tollway-protos.zip`: the files, one image with all that they import, the service config."""

import sys
import zipfile
from pathlib import Path

from services.runtime.channels import SERVICE_CONFIG

DIST = Path("dist")
NOTE = """Contracts of Tollway.

`tollway/` holds the files; `image.binpb` is a FileDescriptorSet with everything that they import, `buf.validate`
included: protoc takes it as `--descriptor_set_in`. The text of `buf/validate/validate.proto` lies in the Maven artefact
`build.buf:protovalidate`; its Go package is `buf.build/gen/go/bufbuild/protovalidate`. `service_config.json` says how
clients balance, check health and retry.
"""


def main() -> int:
    DIST.mkdir(exist_ok=True)
    target = DIST / "tollway-protos.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(Path("protos").rglob("*.proto")):
            archive.write(file, file.relative_to("protos"))
        archive.write("gen/image.binpb", "image.binpb")
        archive.writestr("service_config.json", SERVICE_CONFIG)
        archive.writestr("README", NOTE)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
