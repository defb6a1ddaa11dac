"""One verb, one file: `verb(host, request, settings) -> facts`.

Facts are figures for reply and log.  A deed raises the errors of errors.py and leaves nothing behind when it does.
"""
