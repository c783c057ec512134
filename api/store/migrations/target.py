"""Everything that one database of the platform holds: the service's tables and the registry's history of aliases."""

from api.store.records import Base
from tools.registry.history import METADATA as ALIASES

METADATA = [Base.metadata, ALIASES]
