"""SMTP and POP3 for asyncio and Trio."""
__version__ = "0.1.0"
