"""Reads the members of a zip file whose members may be compressed with Zstandard, which Python 3.11 cannot read."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from swarmeval.errors import DataError

ZSTANDARD = 93  # the compression method, APPNOTE.TXT 4.4.5
MOST_MB = 256  # of one member, unpacked: a few KB of zip file can hold gigabytes
HEADER = 30  # bytes of a member's local header before its name, APPNOTE.TXT 4.3.7


def members(path: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the members below a folder, in the file's order, one at a time. Raises DataError."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            found = [info for info in archive.infolist() if info.filename.startswith(prefix)]
            for info in found:
                if info.file_size > MOST_MB << 20:
                    raise zipfile.BadZipFile(f"{info.filename!r} is larger than {MOST_MB} MiB")
                zstandard = info.compress_type == ZSTANDARD
                content = _zstandard(file, info) if zstandard else archive.read(info)
                yield info.filename if info.filename.isprintable() else repr(info.filename), content
    # RuntimeError: an encrypted member; ValueError: pyarrow's error for damaged data, among others
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: not a readable zip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _zstandard(file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    import pyarrow

    file.seek(info.header_offset)
    header = file.read(HEADER)
    name, extra = (int.from_bytes(header[start : start + 2], "little") for start in (26, 28))
    file.seek(info.header_offset + HEADER + name + extra)
    packed = pyarrow.BufferReader(file.read(info.compress_size))
    with pyarrow.CompressedInputStream(packed, "zstd") as stream:
        content: bytes = stream.read(info.file_size + 1)
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 for {info.filename!r}")
    return content
