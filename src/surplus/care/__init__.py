"""Care of the books, from the outside: backups, restores, rebuilt balances, and a new key for the operator."""

from surplus.care.backup import back_up
from surplus.care.errors import BackupDamaged, CareError
from surplus.care.manifest import Manifest
from surplus.care.operator_key import KeyReset, reset_operator_key
from surplus.care.rebuild import Rebuilt, rebuild
from surplus.care.restore import Restored, restore

__all__ = [
    "BackupDamaged",
    "CareError",
    "KeyReset",
    "Manifest",
    "Rebuilt",
    "Restored",
    "back_up",
    "rebuild",
    "reset_operator_key",
    "restore",
]
