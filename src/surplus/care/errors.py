"""Why the books cannot be copied, put back or mended."""

from surplus.kit.errors import SurplusError


class CareError(SurplusError):
    """What was asked cannot be done with these files; nothing was changed."""

    code = "care_failed"


class BackupDamaged(CareError):
    """A backup is not what was written."""

    code = "backup_damaged"
