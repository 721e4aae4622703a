"""The text of a file that may be packed (gzip, zip, bzip2, xz), which its first bytes tell, whatever it is called."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from io import BytesIO
from os import PathLike
from pathlib import Path

__all__ = ["PackedFileError", "read_bytes", "read_text"]

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class PackedFileError(ValueError):
    """Why a file holds no text that can be read, and what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def read_text(path: str | PathLike[str]) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Args:
        path: the file. Of a zip archive the one file in it; what macOS adds does not count.

    Raises:
        PackedFileError: the file cannot be unpacked, is no text, or an archive of several files.
        OSError: it cannot be opened.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-16" if content[:2] in _UTF_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise PackedFileError(" ".join(str(error).split()), 'Save it as CSV in UTF-8 (Excel: "CSV UTF-8").') from error
    if "\x00" in text:
        raise PackedFileError("no text", "Save it as CSV.")
    return text


def read_bytes(path: str | PathLike[str]) -> bytes:
    """What a file holds, unpacked.

    Args:
        path: the file. Of a zip archive the one file in it; what macOS adds does not count.

    Raises:
        PackedFileError: the file cannot be unpacked, or is an archive of several files.
        OSError: it cannot be opened.
    """
    content = Path(path).read_bytes()
    try:
        return _unpacked(content)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise PackedFileError(" ".join(str(error).split()), "Pack it again, or save it as CSV.") from error


def _unpacked(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"BZh"):
        return bz2.decompress(content)
    if content.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        raise PackedFileError("packed with zstd", "Unpack it, or pack it with gzip.")
    if content.startswith(b"PAR1"):
        raise PackedFileError("a Parquet file", "Save it as CSV.")
    return _from_archive(content) if content.startswith((b"PK\x03\x04", b"PK\x05\x06")) else content


def _from_archive(content: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if "[Content_Types].xml" in names:
            raise PackedFileError("an Excel workbook", "Save it as CSV.")
        names = [name for name in names if not name.startswith(("__MACOSX/", ".")) and "/." not in name]
        if len(names) != 1:
            held = f"{len(names)} files: {', '.join(names[:3])}" if names else "no file"
            raise PackedFileError(f"a zip archive of {held}", "Pack one CSV file into each archive.")
        return archive.read(names[0])
