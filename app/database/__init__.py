"""The SQL database: its tables, its sessions with one transaction each, and its schema's changes.

tables, columns       what is kept, and the kinds of its columns; access_tables has those of keys
sessions              engine, sessions, transactions, the write lock
postgres_connections  connections that wait for a limited time
audit                 the log of changes, written in the transaction of the change
jobs                  the job engine's own tables and its queue
migrate               the schema brought up to date
outages               errors of database and disk that are nobody's fault, by their kind
"""
