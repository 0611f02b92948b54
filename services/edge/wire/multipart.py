"""A form as `multipart/form-data`, read as it comes: small fields and files that are named are kept, the bytes of an upload passed on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.edge.wire.errors import Refusal, missing, unfit

LONGEST_FIELD = 1024
MOST_FIELDS, MOST_FILES = 16, 17


@dataclass(frozen=True, slots=True)
class Kept:
    """A file."""

    part: str
    filename: str
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Upload:
    """Feed it the body; it gives back what belongs to the part called `file`, unless files of other names are to be kept."""

    content_type: bytes
    kept: frozenset[str] = frozenset()
    longest: Mapping[str, int] = field(default_factory=dict)
    """Bytes of fields that may have more than others."""
    files: list[Kept] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    """The last of each name."""
    lists: dict[str, list[str]] = field(default_factory=dict)
    """All of each name that ends in `[]`."""
    filename: str = ""
    _parser: MultipartParser = field(init=False)
    _part: str = ""
    _is_file: bool = False
    _named_file: str = ""
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _said: dict[bytes, bytes] = field(default_factory=dict)
    _small: bytearray = field(default_factory=bytearray)
    _file: bytearray = field(default_factory=bytearray)
    _ended: bool = False

    def __post_init__(self) -> None:
        kind, options = parse_options_header(self.content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refusal(415, "unsupported_content_type", "the content type must be multipart/form-data")
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begins,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._named,
                "on_part_data": self._data,
                "on_part_end": self._ends,
                "on_end": self._whole,
            },
        )

    def feed(self, piece: bytes) -> bytes:
        """
        Raises:
            Refusal: this is no such body, or a field has too much in it.
        """
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise Refusal(400, "invalid_multipart", f"the body is not multipart/form-data: {error}") from None
        if self.kept:
            return b""
        made = bytes(self._file)
        self._file.clear()
        return made

    def finish(self) -> None:
        """
        Raises:
            Refusal: the body is cut short, or has no file.
        """
        if not self._ended:
            raise Refusal(400, "invalid_multipart", "the multipart/form-data body is cut short")
        if not self.filename and not self.kept:
            raise missing("file")

    def _begins(self) -> None:
        self._part, self._said = "", {}
        self._small.clear()

    def _header_ends(self) -> None:
        self._said[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _named(self) -> None:
        _, options = parse_options_header(self._said.get(b"content-disposition", b""))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        self._named_file = options.get(b"filename", b"").decode("utf-8", "replace")[:512] or "upload"
        self._is_file = self._part in (self.kept or ("file",))
        if self._is_file and self.kept:
            if len(self.files) >= MOST_FILES:
                raise Refusal(400, "invalid_multipart", f"there are more than {MOST_FILES} files")
        elif self._is_file:
            if self.filename:
                raise unfit("file", "there is more than one")
            self.filename = self._named_file
        elif len(self.fields) >= MOST_FIELDS:
            raise Refusal(400, "invalid_multipart", f"there are more than {MOST_FIELDS} fields")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.extend(data[start:end])
            return
        self._small.extend(data[start:end])
        if len(self._small) > self.longest.get(self._part, LONGEST_FIELD):
            raise unfit(self._part[:64], "it is too long")

    def _ends(self) -> None:
        if self._is_file and self.kept:
            self.files.append(Kept(self._part, self._named_file, bytes(self._file)))
            self._file.clear()
        elif not self._is_file:
            value = self.fields[self._part] = self._small.decode("utf-8", "replace")
            if self._part.endswith("[]") and len(said := self.lists.setdefault(self._part, [])) < MOST_FIELDS:
                said.append(value)

    def _whole(self) -> None:
        self._ended = True
