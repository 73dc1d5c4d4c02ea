"""Mail in files: durable delivery into a Maildir, and an async face for Maildir, mbox and MH folders."""

from .folder import Folder, FolderMessage
from .formats import Flag, FormatKind
from .maildir import Delivery, Maildir, settle

__all__ = ["Delivery", "Flag", "Folder", "FolderMessage", "FormatKind", "Maildir", "settle"]
