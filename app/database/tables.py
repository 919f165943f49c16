"""The SQL tables; one class a noun. Migrations are derived from this file and tested against it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.database import row_checksums
from app.database.access_tables import ApiKey as ApiKey  # so that the metadata is complete
from app.database.access_tables import AuditEntry as AuditEntry
from app.database.access_tables import BrowserSession as BrowserSession
from app.database.columns import Base, Sealed, Sequence, now, stamp
from app.database.ids import ordered
from app.database.lease_tables import AnsweringProcess as AnsweringProcess
from app.database.lease_tables import SelectionVersion as SelectionVersion
from app.database.pass_tables import BatchPrediction as BatchPrediction
from app.database.pass_tables import BatchPredictionMember as BatchPredictionMember
from app.database.pass_tables import Evaluation as Evaluation
from app.database.pass_tables import EvaluationAnswers as EvaluationAnswers
from app.database.pass_tables import EvaluationMember as EvaluationMember
from app.database.privacy_tables import CarriedSpend as CarriedSpend
from app.database.privacy_tables import PrivacySpend as PrivacySpend
from app.database.process_tables import ReaperLease as ReaperLease
from app.database.process_tables import Scrub as Scrub
from app.database.process_tables import Worker as Worker

ACTIVE = ("queued", "training")  # statuses of a component that is not made yet
TERMINAL = ("ready", "failed", "cancelled")


class Space(Sealed, Base):
    __tablename__ = "space"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    backbone: Mapped[str]
    scope: Mapped[str]
    declared_labels: Mapped[list[Any]]
    default_rule: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(index=True)
    image_size: Mapped[int]
    parameters_total: Mapped[int] = mapped_column(BigInteger)
    parameters_tangent: Mapped[int] = mapped_column(BigInteger)  # with one label's head row
    engine: Mapped[str]  # rules, generic or readout, as it was when the space was opened
    engine_reason: Mapped[str]
    # the last receipt before its components changed without one: a retraining, a damaged file
    remade_after: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]  # id of the key that made it; None: everybody's
    shared: Mapped[bool] = mapped_column(default=False)  # with all keys, as if it had no owner
    created_at: Mapped[datetime] = mapped_column(default=now)


class Dataset(Sealed, Base):
    __tablename__ = "dataset"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("ds"))
    name: Mapped[str] = mapped_column(index=True)
    tags: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)  # the user's own
    sha256: Mapped[str | None]  # of the uploaded archive; None once images were deleted
    bytes: Mapped[int] = mapped_column(BigInteger)  # of the archive; then, of the images' files
    revision: Mapped[int] = mapped_column(default=0)  # how often images or labels were changed
    num_images: Mapped[int]
    labels: Mapped[dict[str, Any]]  # label -> number of images
    splits: Mapped[dict[str, Any]] = mapped_column(default=dict)  # split -> images that have one
    rejected: Mapped[list[Any]]  # [{path, reason}], the first thousand
    num_rejected: Mapped[int]
    duplicates: Mapped[int]  # files whose bytes another accepted file of the archive has too
    # numbers of the archive's files by outcome, and warnings on the labels; None like sha256, and
    # where nobody has counted
    files: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    pack_key: Mapped[str]  # blob: the accepted image files end to end
    pack_bytes: Mapped[int | None] = mapped_column(BigInteger)  # None: of before there were keys
    # epsilon and delta that private trainings of it may spend; None: as much as they like
    privacy_budget: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    damaged_images: Mapped[int] = mapped_column(default=0)  # how many of its images are so marked
    space: Mapped[str | None]  # whoever may see this space may see the dataset; None: everybody
    created_by: Mapped[str | None]  # a key's id, for its quotas
    created_at: Mapped[datetime] = mapped_column(default=now)


class Image(Sealed, Base):
    __tablename__ = "image"
    __table_args__ = (
        Index("ix_image_dataset_id_id", "dataset_id", "id", unique=True),
        Index("ix_image_dataset_id_label_id", "dataset_id", "label", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # img_<dataset's hex>_<position, 6 digits>
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    path: Mapped[str]  # in the archive
    label: Mapped[str]
    # train, val, test; None: of a dataset without splits, or unsplit; with equal bytes in others of
    # the dataset's rows, the strictest of their own splits: every reader goes by this column alone
    split: Mapped[str | None]
    own_split: Mapped[str | None]  # what was told of files with this label and these bytes
    group: Mapped[str | None]  # patient, source file, video: a hold-out parts no group
    sha256: Mapped[str] = mapped_column(index=True)  # of the file's bytes
    # None: too even to have one, or of before there were any; see app.images.perceptual_hash
    perceptual_hash: Mapped[str | None]
    copies: Mapped[int] = mapped_column(default=1)  # files of the archive with this label and bytes
    media_type: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    pack_offset: Mapped[int] = mapped_column(BigInteger)
    pack_length: Mapped[int] = mapped_column(BigInteger)
    damaged: Mapped[bool] = mapped_column(default=False)  # was so when its bytes were last read


class Component(Sealed, Base):
    __tablename__ = "component"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("cmp"))
    name: Mapped[str] = mapped_column(index=True)
    space: Mapped[str] = mapped_column(ForeignKey("space.name"), index=True)
    # trained from it or, if derived, fitted to it; None: imported, or derived without a dataset
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"), index=True)
    status: Mapped[str] = mapped_column(index=True)  # one of ACTIVE or TERMINAL
    hyperparameters: Mapped[dict[str, Any]]  # as resolved, defaults filled in
    seed: Mapped[int] = mapped_column(BigInteger)
    labels: Mapped[dict[str, Any]]  # label -> number of images
    tags: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)  # the user's own
    fingerprint: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)  # in this generation
    generation: Mapped[int] = mapped_column(default=0)  # retrainings after changes of its data
    retraining: Mapped[bool] = mapped_column(default=False)  # was ready, and is not yet so again
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)  # step, total, loss, eta_seconds
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # code, detail
    blob_key: Mapped[str | None]  # the safetensors file; set with status ready
    sha256: Mapped[str | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    # False: the imported file has none. A derived component's has none either
    statistics: Mapped[bool] = mapped_column(default=True)
    # number of the last receipt when it became ready: clocks differ, the ledger has one order
    receipts_before: Mapped[int | None]
    # operator and parameters of one made from other components; None: from images
    derived: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # terms of a private training or of an imported file; None: not private
    privacy: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    automatic: Mapped[bool] = mapped_column(default=False)  # a refinement the service has made
    refines: Mapped[str | None]  # the composition that it is made for; None: all of the space
    replaced_at: Mapped[datetime | None]  # by the refinement of other members; no list has it
    created_by: Mapped[str | None]  # a key's id, for its quotas
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    parents: Mapped[list["ComponentParent"]] = relationship(
        foreign_keys="ComponentParent.component_id", order_by="ComponentParent.position"
    )

    @property
    def job_id(self) -> str:
        """Return this generation's job id: the component's id, numbered from the second on."""
        return f"{self.id}.{self.generation}" if self.generation else self.id


class ComponentParent(Sealed, Base):
    """A parent of a derived component, or an earlier ancestor that an imported file names."""

    __tablename__ = "component_parent"

    component_id: Mapped[str] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    # None: derived elsewhere, so that only the file tells
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("component.id"), index=True)
    sha256: Mapped[str] = mapped_column(index=True)  # of the parent's file
    direct: Mapped[bool]  # False: a parent's parent, or one further back
    weight: Mapped[float | None]  # None: by the operator


class ComponentEvent(Sealed, Base):
    __tablename__ = "component_event"

    id: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=True)
    component_id: Mapped[str] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), index=True
    )
    type: Mapped[str]  # status, progress
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Composition(Sealed, Base):
    __tablename__ = "composition"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    space: Mapped[str] = mapped_column(ForeignKey("space.name"), index=True)
    rule: Mapped[str]  # average, weighted, joint
    everything: Mapped[bool]  # components: "all", those ready at the time of asking
    tags: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)  # the user's own
    # how its weights were fitted; None: they were given. See app.store.fitted_weights
    solved: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_by: Mapped[str | None]  # a key's id, for its quotas
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    members: Mapped[list["CompositionMember"]] = relationship(
        cascade="all, delete-orphan", order_by="CompositionMember.component_id"
    )


class CompositionMember(Sealed, Base):
    __tablename__ = "composition_member"

    composition: Mapped[str] = mapped_column(
        ForeignKey("composition.name", ondelete="CASCADE"), primary_key=True
    )
    component_id: Mapped[str] = mapped_column(
        ForeignKey("component.id"), primary_key=True, index=True
    )
    weight: Mapped[float | None]  # None: by the rule


class Receipt(Sealed, Base):
    __tablename__ = "receipt"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # 1, 2, 3 …
    id: Mapped[str] = mapped_column(unique=True, default=ordered("rcpt"))
    body: Mapped[dict[str, Any]]  # what was removed and invalidated; no content
    previous_hash: Mapped[str]
    hash: Mapped[str]
    key_id: Mapped[str | None]  # of the key that signed it; sealed by the hash
    signature: Mapped[str | None]  # over the hash
    created_at: Mapped[datetime] = mapped_column(default=now)

    @property
    def stamp(self) -> str:
        """Return `created_at` as it is hashed and shown."""
        return stamp(self.created_at)


class ReceiptKey(Sealed, Base):
    """The public part of every key that has signed a receipt; rows are only ever added."""

    __tablename__ = "receipt_key"

    id: Mapped[str] = mapped_column(primary_key=True)  # its fingerprint, see app.receipts.signing
    public_key: Mapped[str]  # PEM
    created_at: Mapped[datetime] = mapped_column(default=now)


class ReceiptNode(Sealed, Base):
    """A complete subtree of the Merkle tree over receipts; rows are only ever added."""

    __tablename__ = "receipt_node"

    level: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    hash: Mapped[str]


class Tombstone(Sealed, Base):
    __tablename__ = "tombstone"

    subject_id: Mapped[str] = mapped_column(primary_key=True)  # id of what was deleted
    receipt_id: Mapped[str]


class BlobIntent(Base):
    """The key of a blob that no row names: not yet, or not any more. See app.files.intents."""

    __tablename__ = "blob_intent"

    key: Mapped[str] = mapped_column(primary_key=True)
    given_up: Mapped[bool] = mapped_column(default=False)  # no row can come to name it
    created_at: Mapped[datetime] = mapped_column(default=now)


class IdempotencyKey(Sealed, Base):
    __tablename__ = "idempotency_key"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    resource_id: Mapped[str]  # a replay renders it again, and cannot bring deleted data back
    created_at: Mapped[datetime] = mapped_column(default=now)


class DatabaseIdentity(Base):
    """The database's own id, which its data folder carries too; one row."""

    __tablename__ = "database_identity"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # 1
    id: Mapped[str]
    closed: Mapped[str | None]  # the reason why the database must not be served any more, or yet


row_checksums.watch(list(Base.registry.mappers))
