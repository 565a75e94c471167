"""Collections: folders of up to millions of items on the disk, their vectors, and what was said of them."""

from mmviewer.core.space.collection.batch import Batch as Batch
from mmviewer.core.space.collection.catalogue import Catalogue as Catalogue
from mmviewer.core.space.collection.sources import EmbeddingsSource as EmbeddingsSource
from mmviewer.core.space.collection.sources import FolderSource as FolderSource
from mmviewer.core.space.collection.sources import ListSource as ListSource
from mmviewer.core.space.collection.sources import Source as Source
from mmviewer.core.space.collection.sources import SourceSpec as SourceSpec
from mmviewer.core.space.collection.sources import TableSource as TableSource
from mmviewer.core.space.collection.thumbnails import Thumbnails as Thumbnails
from mmviewer.core.space.collection.types import KINDS as KINDS
from mmviewer.core.space.collection.types import UNKNOWN_KIND as UNKNOWN_KIND
from mmviewer.core.space.collection.types import CollectionItem as CollectionItem
from mmviewer.core.space.collection.types import ColumnInfo as ColumnInfo
from mmviewer.core.space.collection.types import Coordinates as Coordinates
from mmviewer.core.space.collection.types import ItemTable as ItemTable
from mmviewer.core.space.collection.types import ScanReport as ScanReport
from mmviewer.core.space.collection.types import SpaceInfo as SpaceInfo
from mmviewer.core.space.collection.types import Status as Status
from mmviewer.core.space.collection.vectors import SpaceVectors as SpaceVectors
from mmviewer.core.space.collection.verify import VerifyReport as VerifyReport
