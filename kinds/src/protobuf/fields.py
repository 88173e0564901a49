#!/usr/bin/env python3
"""Writes fields.tsv: number and type of every field of the protobuf messages that bodies of requests hold.

usage: fields.py KUBERNETES > fields.tsv, where KUBERNETES is a source tree of the version that is served

A field's line: message, number, JSON name, type. The type is prefixed with `[]` for a list, `{}` for a map,
and `?` where Kubernetes tells a zero value from an absent one (a pointer in its Go types). The JSON name `-`
marks a message whose fields stand in its parent's object, `*` the value that a message is nothing but, or one of
those that it may be.

Numbers and types are read from the generated.proto files, JSON names and pointers from the tags of the Go types
beside them. The messages are those that can be reached from the kinds in the snapshot of the table of kinds; a test
compares them with the schemas of these kinds.
"""
import os
import re
import sys

STAGING = os.path.join(sys.argv[1], "staging", "src", "k8s.io")
SNAPSHOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "builtin", "snapshots",
                        "kinds__builtin__tests__the_table_of_kinds_is_what_it_was.snap")
SCALARS = {"string", "bytes", "int32", "int64", "bool", "double"}
# Messages that have a form of their own in JSON. mod.rs knows them by name.
SPECIAL = {"resource.Quantity", "meta.v1.Time", "meta.v1.MicroTime", "meta.v1.Duration", "intstr.IntOrString",
           "runtime.RawExtension", "meta.v1.FieldsV1", "apiextensions.v1.JSON"}


def short(package):
    """k8s.io.api.core.v1 -> core.v1, k8s.io.apimachinery.pkg.util.intstr -> intstr"""
    parts = package.split(".")
    last = 2 if re.match(r"v\d", parts[-1]) else 1
    return ".".join(parts[-last:])


def proto_messages(text):
    """name -> [(number, shape, type)], types with their packages' short names"""
    package = short(re.search(r"^package (\S+);", text, re.M).group(1))
    text = re.sub(r"//.*$", "", text, flags=re.M)

    def full(name):
        if name in SCALARS:
            return name
        if "." not in name:
            return f"{package}.{name}"
        path, _, message = name.strip(".").rpartition(".")
        return f"{short(path)}.{message}"

    found = {}
    for name, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", text, re.S | re.M):
        fields = []
        for line in body.split(";"):
            one = re.search(r"(optional|repeated) (\S+) \w+ = (\d+)", line)
            mapped = re.search(r"map<string, (\S+)> \w+ = (\d+)", line)
            if one:
                shape = "[]" if one.group(1) == "repeated" else ""
                fields.append((int(one.group(3)), shape, full(one.group(2))))
            elif mapped:
                fields.append((int(mapped.group(2)), "{}", full(mapped.group(1))))
            elif line.strip():
                sys.exit(f"{package}.{name}: cannot read {line.strip()!r}")
        found[f"{package}.{name}"] = fields
    return package, found


def go_fields(folder, package):
    """(message, number) -> (JSON name, whether it is a pointer), and the messages that are lists in Go"""
    found, lists = {}, set()
    for file in os.listdir(folder):
        if not file.endswith(".go") or file.endswith("_test.go") or file.startswith("generated"):
            continue
        text = open(os.path.join(folder, file)).read()
        lists.update(f"{package}.{name}" for name in re.findall(r"^type (\w+) \[\]", text, re.M))
        for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.S | re.M):
            for line in body.splitlines():
                tag = re.match(r"\s*(?:\w+\s+)?(\*?)[\w.\[\]*]+\s+`(.*)`", line)
                number = tag and re.search(r'protobuf:"\w+,(\d+)', tag.group(2))
                if number:
                    json = re.search(r'json:"([^,"]*)(,inline)?', tag.group(2))
                    # Alternatives have no name: the one that is there is the value.
                    name_in_json = "*" if not json else "-" if json.group(2) else json.group(1)
                    found[f"{package}.{name}", int(number.group(1))] = (name_in_json, tag.group(1) == "*")
    return found, lists


def kinds():
    """The messages of the kinds in the table, those that subresources take, and what deletions take."""
    found = {"meta.v1.DeleteOptions"}
    for line in open(SNAPSHOT):
        named = re.match(r"(?:\s+\w+: )?((?:[\w.]+/)?v\d+) (\w+)[,:]", line)
        if named and not named.group(2).endswith("Options"):
            group, _, version = named.group(1).rpartition("/")
            found.add(f"{(group or 'core').split('.')[0]}.{version}.{named.group(2)}")
    return found


messages, tags, lists = {}, {}, set()
for root in ("api", "apimachinery", "apiextensions-apiserver", "kube-aggregator"):
    for folder, _, files in os.walk(os.path.join(STAGING, root)):
        if "generated.proto" in files and "testapigroup" not in folder:
            package, found = proto_messages(open(os.path.join(folder, "generated.proto")).read())
            messages.update(found)
            more, of_lists = go_fields(folder, package)
            tags.update(more)
            lists.update(of_lists)

by_name = {name.lower(): name for name in messages}
rows, waiting, seen = [], sorted(by_name[kind.lower()] for kind in kinds()), set()
while waiting:
    message = waiting.pop()
    if message in seen or message in SPECIAL or message in SCALARS:
        continue
    seen.add(message)
    for number, shape, kind in messages[message]:
        waiting.append(kind)
        name, pointer = ("*", False) if message in lists else tags[message, number]
        if name == "-" and shape:
            sys.exit(f"{message}: field {number} has no name")
        mark = "?" if not shape and kind in SCALARS and (pointer or name == "*") else ""
        rows.append((message, number, name, shape + mark + kind))
for row in sorted(rows):
    print("\t".join(map(str, row)))
