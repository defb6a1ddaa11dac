"""Who has a certificate of the Grid logs in with plain ssh, for a while: the paper's 3.4, done safely.

    endpoint.py   HTTPS with client certificates: POST /key registers a public key for the caller's account
    subject.py    a certificate's subject as text;  accounts.py: the table from subjects to accounts
    publickey.py  what is accepted as a public key;  registry.py: the keys, each with its end
    keys.py       sshd's AuthorizedKeysCommand;  settings.py: /etc/vafnebula/access.conf

Standard library only.  An SSH CA needs none of this: docs/access.md.
"""
