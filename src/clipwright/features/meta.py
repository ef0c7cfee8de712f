"""What a store says of itself: which model, which images, which views, in which files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipwright.core.atomic import create_bytes
from clipwright.core.errors import FormatError, StoreError
from clipwright.core.hashing import digest_json

FORMAT = 1
KIND: Literal["clipwright feature store"] = "clipwright feature store"
META_FILE = "meta.json"

_MANY = 1 << 11  # shards that a large store may have
_SMALL, _LARGE = 512, 1 << 14  # images and views per shard, at least and at most


class StoreMeta(BaseModel):
    """The content of ``meta.json``.

    Attributes:
        format: version of the layout.
        kind: always the same words, to tell a store from other folders.
        backbone: identifier of the backbone that made the features, for people.
        backbone_digest: hash of its weights, preprocessing, decoder and dtype.
        dim: D.
        pre_projection_dim: D', or None where the tower has no last matrix.
        projection_bias: whether the last matrix comes with a bias.
        logit_scale: what multiplies cosines.
        dataset: name of the data set, for people.
        rows: n, unreadable images included.
        ids_digest: hash of the n row identifiers in order.
        views: V.
        recipe: how views are made, None without views.
        seed: what views are drawn from, None without views.
        dtype: how features are stored.
        rows_per_shard: rows that one shard holds, the last one fewer.
        batch_size: images and views that were encoded at a time.
        version: the clipwright that made the store.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    kind: Literal["clipwright feature store"] = KIND
    backbone: str
    backbone_digest: str = Field(min_length=1)
    dim: int = Field(gt=0)
    pre_projection_dim: int | None = Field(default=None, gt=0)
    projection_bias: bool = False
    logit_scale: float = Field(gt=0)
    dataset: str
    rows: int = Field(gt=0)
    ids_digest: str
    views: int = Field(default=0, ge=0)
    recipe: str | None = None
    seed: int | None = None
    dtype: Literal["float32", "float16"] = "float32"
    rows_per_shard: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    version: str = ""

    @property
    def key(self) -> str:
        """What every shard of this store carries; shards of stores with the same key may be mixed."""
        names = ("backbone_digest", "rows", "ids_digest", "views", "recipe", "seed", "dtype", "rows_per_shard")
        return digest_json({name: getattr(self, name) for name in names})

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """How features are stored."""
        return np.dtype(self.dtype)

    @property
    def shards(self) -> int:
        """How many shards a complete store has."""
        return -(-self.rows // self.rows_per_shard)

    def range_of(self, shard: int) -> range:
        """The rows of one shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.rows))


def default_rows_per_shard(rows: int, views: int) -> int:
    """Rows per shard: little is lost by a kill, and a large store has no more than a few thousand files.

    A power of two that depends on nothing but its arguments, so machines that share the work agree on it.
    """
    wanted = max(_SMALL // (1 + views), min(-(-rows // _MANY), _LARGE // (1 + views)), 1)
    return 1 << (wanted - 1).bit_length()


def read_meta(folder: Path) -> StoreMeta:
    """Read ``meta.json``.

    Raises:
        StoreError: there is no store at `folder`.
        FormatError: it is damaged, something else, or newer than this clipwright.
    """
    path = folder / META_FILE
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"there is no feature store at {folder}: extract features first.") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} can't be read ({error}): remove {folder} and extract again.") from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise FormatError(f"{path} doesn't describe a feature store: choose another folder.")
    found = value.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise FormatError(
            f"the feature store at {folder} has format {found} but this clipwright reads formats up to {FORMAT}: "
            "update clipwright."
        )
    try:
        return StoreMeta.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FormatError(f"{path} is damaged ({where}: {first['msg']}): remove {folder} and extract again.") from error


def create_meta(folder: Path, meta: StoreMeta) -> StoreMeta:
    """Write ``meta.json`` unless another writer was faster; return the one that stands."""
    text = json.dumps(meta.model_dump(), indent=2, ensure_ascii=False) + "\n"
    create_bytes(folder / META_FILE, text.encode())
    return read_meta(folder)
