"""Models of the Windows modules that the roles use. Importing this package fills ``MODELS``."""

from . import accounts, commands, files, network, packages, registry, security, services, settings, system, tasks
from .registry_of_models import MODELS

__all__ = [
    "MODELS",
    "accounts",
    "commands",
    "files",
    "network",
    "packages",
    "registry",
    "security",
    "services",
    "settings",
    "system",
    "tasks",
]
