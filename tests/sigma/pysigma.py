"""What pySigma's SQLite backend says of correlations: one case of JSON a line in, its alerts a line out.

A case is {"rules": Sigma in YAML, "events": [{"timestamp": milliseconds, field: value, …}], "id": of the correlation}.
Its alerts are [[milliseconds, {field: value}], …], sorted.
"""

import copy
import json
import sqlite3
import sys

import yaml
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

FIELDS = ["timestamp", "ev", "grp", "grp2", "val", "num", "other"]


COMPARISONS = ["gt", "gte", "lt", "lte", "eq"]


def one_bound_each(rules):
    """pySigma takes one comparison in a condition: a range is what satisfies both of its ends."""
    documents = [document for document in yaml.safe_load_all(rules) if document]
    condition = documents[-1]["correlation"].get("condition")
    bounds = [name for name in COMPARISONS if isinstance(condition, dict) and name in condition]
    for kept in bounds or [None]:
        each = copy.deepcopy(documents)
        for name in bounds:
            if name != kept:
                del each[-1]["correlation"]["condition"][name]
        yield yaml.safe_dump_all(each)


def alerts(case):
    connection = sqlite3.connect(":memory:")
    columns = ", ".join(f"{name} COLLATE NOCASE" for name in FIELDS)
    connection.execute(f"CREATE TABLE logs ({columns})")
    marks = ", ".join("?" for _ in FIELDS)
    rows = [[event.get(name) for name in FIELDS] for event in case["events"]]
    connection.executemany(f"INSERT INTO logs VALUES ({marks})", rows)
    found = [alerts_of(rules, connection) for rules in one_bound_each(case["rules"])]
    return [[at, json.loads(group)] for at, group in sorted(set.intersection(*found))]


def alerts_of(rules, connection):
    query = sqliteBackend(timestamp_format="unix_ms").convert(SigmaCollection.from_yaml(rules))[-1]
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    found = set()
    for row in cursor:
        row = dict(zip(names, row))
        group = {key: str(value).lower() for key, value in json.loads(row["group_keys"]).items()}
        found.add((round(row["occurrence_time"] * 1000), json.dumps(group, sort_keys=True)))
    return found


for line in sys.stdin:
    print(json.dumps(alerts(json.loads(line))), flush=True)
