"""What the features of a store shall be of, and whether a store is of that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipwright import __version__
from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.core.errors import StoreError
from clipwright.core.hashing import digest_json
from clipwright.core.home import home
from clipwright.data.dataset import Dataset
from clipwright.features import rows as manifest
from clipwright.features.meta import StoreMeta, default_rows_per_shard
from clipwright.features.store import FeatureStore

Storage = Literal["float32", "float16"]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What the features shall be of."""

    dataset: Dataset
    ref: BackboneRef
    views: int
    recipe: str | None
    seed: int | None
    dtype: Storage

    def default_folder(self) -> Path:
        """A folder that belongs to the backbone, the data set and the views."""
        digest = self.ref.digest
        model = digest if re.fullmatch(r"[0-9a-f]{8,}", digest) else digest_json(digest)
        key = {"dataset": self.dataset.digest, "views": self.views, "recipe": self.recipe, "seed": self.seed}
        return home() / "features" / model[:32] / digest_json({**key, "dtype": self.dtype})[:32]

    def check(self, store: FeatureStore) -> None:
        """Refuse a store of something else."""
        meta = store.meta
        if meta.backbone_digest != self.ref.digest:
            raise StoreError(
                f"the feature store at {store.folder} was made by {meta.backbone} ({meta.backbone_digest[:12]}), not "
                f"by {self.ref.spec} ({self.ref.digest[:12]}), and features of different models never mix: "
                "choose another folder."
            )
        mine = {name: getattr(self, name) for name in ("views", "recipe", "seed", "dtype")}
        for name, value in mine.items():
            if getattr(meta, name) != value:
                raise StoreError(
                    f"the feature store at {store.folder} has {name} {getattr(meta, name)}, not {value}: "
                    "choose another folder, or the same options."
                )
        ids = self.dataset.ids
        if meta.rows != len(ids) or meta.ids_digest != manifest.ids_digest(ids):
            raise StoreError(
                f"the feature store at {store.folder} was made from other images ({meta.dataset}, {meta.rows} rows): "
                "choose another folder."
            )
        store.contents(self.dataset)  # refuses files that have changed since

    def meta(self, backbone: Backbone, batch_size: int, rows_per_shard: int | None) -> StoreMeta:
        """What a new store says of itself."""
        rows = len(self.dataset)
        return StoreMeta(
            backbone=self.ref.spec,
            backbone_digest=self.ref.digest,
            dim=backbone.dim,
            pre_projection_dim=backbone.pre_projection_dim,
            projection_bias=getattr(backbone, "projection_bias", None) is not None,
            logit_scale=backbone.logit_scale,
            dataset=self.dataset.name,
            rows=rows,
            ids_digest=manifest.ids_digest(self.dataset.ids),
            views=self.views,
            recipe=self.recipe,
            seed=self.seed,
            dtype=self.dtype,
            rows_per_shard=rows_per_shard or default_rows_per_shard(rows, self.views),
            batch_size=batch_size,
            version=__version__,
        )
