"""Cut CLIP's byte-pair merges to the embedded model's vocabulary."""

from __future__ import annotations

import gzip
import io
from pathlib import Path


def cut(vocabulary: int) -> bytes:
    """Cut open_clip's own merges file (MIT licence) to its first merges.

    Args:
        vocabulary: Tokens wanted: 512 bytes, the merges, start and end of text.

    Returns:
        A gzip file, equal bytes each time: no name and no time in its header.
    """
    from open_clip.tokenizer import default_bpe

    with gzip.open(Path(default_bpe()), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        # No newline at the end: SimpleTokenizer would read one more, empty merge.
        file.write("\n".join(lines[: 1 + vocabulary - 512 - 2]).encode())
    return buffer.getvalue()
