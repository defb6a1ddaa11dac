"""The front-end half of the transfer manager: argv and one API read -> one ssh -> exit code and one line."""
