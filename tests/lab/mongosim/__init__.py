"""A stand-in for MongoDB, which cannot be had where the tests run.

    python -m tests.lab.mongosim --config /etc/mongod.conf

It models what the role ``mongodb`` and the coordinator use of a MongoDB 8 server, and refuses the rest by saying "not
modelled": keys of the configuration file, commands, their fields, roles, operators that only a real server has.

- ``conf``: mongod.conf and what mongod checks before it starts; ``server``: sockets, TLS, one task per connection
- ``wire``, ``scram``: the protocol; ``access``: users, roles, who may what, the localhost exception
- ``members``: the replica set; ``peers``: how members talk to each other; ``commands``: what each command does
- ``engine``: data commands go to the project's embedded engine; ``tools``: mongodump and mongorestore

Simplified, and said here so that nobody takes it for proven: data is not replicated between members (users and the
set's configuration are); there are no elections beyond the first one and ``replSetStepDown``, so a set whose primary
is gone has none until it is back; a retried write is executed again.
"""
