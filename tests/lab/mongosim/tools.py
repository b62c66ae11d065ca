"""Stand-ins for mongodump and mongorestore: the arguments that the role gives, one archive of one database.

The archive is not MongoDB's format; each reads only what the other wrote.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path
from typing import Any

import bson
import yaml
from pymongo import MongoClient
from pymongo.errors import PyMongoError

MAGIC = b"mongosim archive 1\n"
SECONDS = 10


def connect(config: Path) -> MongoClient[dict[str, Any]]:
    """Connect as the tools do: by the address in a file, the only option that this knows there."""
    document = yaml.safe_load(config.read_text())
    if set(document) != {"uri"}:
        sys.exit(f"mongosim: not modelled: {sorted(document)} in --config")
    return MongoClient(document["uri"], serverSelectionTimeoutMS=SECONDS * 1000, timeoutMS=SECONDS * 1000)


def dump(options: argparse.Namespace) -> None:
    with connect(options.config) as client, gzip.open(options.archive, "wb") as archive:
        archive.write(MAGIC)
        database = client[options.db]
        for name in sorted(database.list_collection_names()):
            indexes = [{**index, "key": list(index["key"].items())} for index in database[name].list_indexes()]
            archive.write(bson.encode({"collection": name, "indexes": indexes}))
            for document in database[name].find():
                archive.write(bson.encode({"document": document}))


def restore(options: argparse.Namespace) -> None:
    database_name, _, pattern = options.nsInclude.partition(".")
    if pattern != "*":
        sys.exit(f"mongosim: not modelled: --nsInclude={options.nsInclude}")
    content = gzip.decompress(options.archive.read_bytes())
    if not content.startswith(MAGIC):
        sys.exit("Failed: stream or file does not appear to be a mongodump archive")
    with connect(options.config) as client:
        collection = None
        for entry in bson.decode_all(content[len(MAGIC) :]):
            if "collection" in entry:
                collection = client[database_name][entry["collection"]]
                collection.drop()
                for index in entry["indexes"]:
                    if index["name"] != "_id_":
                        kept = {
                            key: index[key]
                            for key in ("name", "unique", "sparse", "expireAfterSeconds")
                            if key in index
                        }
                        collection.create_index([tuple(part) for part in index["key"]], **kept)
            else:
                assert collection is not None
                collection.insert_one(entry["document"])


def main() -> None:
    tool = sys.argv[1]
    parser = argparse.ArgumentParser(prog=tool, allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--gzip", action="store_true", required=True)
    if tool == "mongodump":
        parser.add_argument("--db", required=True)
    else:
        parser.add_argument("--nsInclude", required=True)
        parser.add_argument("--drop", action="store_true", required=True)
    options = parser.parse_args(sys.argv[2:])
    try:
        (dump if tool == "mongodump" else restore)(options)
    except PyMongoError as error:
        sys.exit(f"Failed: {error}")


if __name__ == "__main__":
    main()
