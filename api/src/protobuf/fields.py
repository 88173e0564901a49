#!/usr/bin/env python3
"""Writes fields.tsv: number and type of every field of the API's protobuf messages.

usage: fields.py K8S_PB/src K8S_OPENAPI/src/v1_NN > fields.tsv

A field's line: message, number, JSON name, type. The type is prefixed with `[]` for a list, `{}` for a map,
and `?` where Kubernetes tells a zero value from an absent one (a pointer in its Go types). The JSON name `-`
marks a message whose fields stand in its parent's object.

Numbers and wire types are read from the sources of the crate k8s-pb (prost bindings of Kubernetes'
generated.proto files), the JSON names from those of k8s-openapi. Only stable versions are kept.
"""
import os
import re
import sys

pb, openapi = sys.argv[1], sys.argv[2]
# Zero values that mean something; all others are left out, as Go's omitempty does.
POINTERS = re.compile(r"""^(
    \w+\.v\d+\.( \w*Webhook\.timeoutSeconds | \w+\.optional | \w+\.defaultMode | \w+\.mode
    | (PodSecurityContext|SecurityContext|LeaseSpec|JobSpec|CSIDriverSpec|EndpointConditions)\.\w+
    | (Deployment|ReplicaSet|StatefulSet|ReplicationController)Spec\.replicas | \w+\.revisionHistoryLimit
    | DeploymentSpec\.progressDeadlineSeconds | RollingUpdateStatefulSetStrategy\.partition
    | HorizontalPodAutoscalerSpec\.(minReplicas|targetCPUUtilizationPercentage)
    | \w+\.stabilizationWindowSeconds | \w+\.averageUtilization
    | CronJobSpec\.(startingDeadlineSeconds|suspend|successfulJobsHistoryLimit|failedJobsHistoryLimit)
    | \w+\.expirationSeconds | (ConfigMap|Secret)\.immutable | \w+\.terminationGracePeriodSeconds
    | PodSpec\.(activeDeadlineSeconds|priority|shareProcessNamespace|enableServiceLinks|setHostnameAsFQDN|hostUsers)
    | \w+\.automountServiceAccountToken | ServiceSpec\.allocateLoadBalancerNodePorts
    | Toleration\.tolerationSeconds | ClientIpConfig\.timeoutSeconds | \w+\.minDomains
    | DeleteOptions\.(gracePeriodSeconds|orphanDependents) | OwnerReference\.(controller|blockOwnerDeletion)
    | StorageClass\.allowVolumeExpansion | \w+\.storageClassName | \w+\.(lendable|borrowingLimit)\w*
    | \w+PriorityLevelConfiguration\.nominalConcurrencyShares | ObjectMeta\.deletionGracePeriodSeconds )
)$""", re.X)
STABLE = re.compile(r"v\d+$")


def short(path):
    """['api', 'core', 'v1'] -> 'core.v1'; utility types keep their package's name."""
    parts = [p for p in path if p not in ("api", "pkg", "apis", "apimachinery", "apiextensions_apiserver",
                                          "kube_aggregator", "util", "k8s_io")]
    return ".".join(parts) or "resource"


def openapi_names():
    """type -> {name without underscores: JSON name}, from the field tables of the deserializers."""
    found = {}
    for folder, _, files in os.walk(openapi):
        for file in files:
            text = open(os.path.join(folder, file)).read()
            path = [p for p in os.path.relpath(folder, openapi).split(os.sep) if p != "."]
            for name, body in re.findall(r"Deserialize<'de> for (\w+) \{(.*?)deserialize_identifier", text, re.S):
                fields = re.findall(r'"([^"]+)" => Field::Key_', body)
                if fields:
                    found[f"{short(path)}.{name}".lower()] = {f.lower(): f for f in fields}
    return found


json_names = openapi_names()
rows = []
for folder, _, files in os.walk(pb):
    path = [p for p in os.path.relpath(folder, pb).split(os.sep) if p != "."]
    version = next((p for p in path if re.match(r"v\d", p)), None)
    if "mod.rs" not in files or path[-2:-1] == ["testapigroup"] or {"metrics", "admission", "apidiscovery", "apiextensions"} & set(path) or (version and not STABLE.match(version)):
        continue
    text = re.sub(r"^\s*///.*$", "", open(os.path.join(folder, "mod.rs")).read(), flags=re.M)
    for name, body in re.findall(r"::prost::Message\)\]\s*pub struct (\w+) \{(.*?)\n\}", text, re.S):
        owner = f"{short(path)}.{name}"
        for attribute, field, rust in re.findall(
                r"#\[prost\((.*?)\)\]\s*pub (?:r#)?(\w+):\s*(.*?),\s*(?=#|$|\n\s*\n|\Z)", body, re.S):
            number = re.search(r'tag = "(\d+)"', attribute).group(1)
            kind = re.match(r"(\w+)", attribute).group(1)
            if kind == "btree_map":
                kind = re.search(r'btree_map = "(\w+), (\w+)"', attribute).group(2)
                shape = "{}"
            else:
                shape = "[]" if "repeated" in attribute else ""
            if kind == "message":
                target = re.findall(r"((?:super::|\w+::)*\w+)\s*,?\s*>*$", rust.strip().rstrip(","))[0]
                parts = target.split("::")
                at = list(path)
                while parts[0] == "super":
                    at.pop()
                    parts.pop(0)
                kind = f"{short(at + parts[:-1])}.{parts[-1]}"
            known = json_names.get(owner.lower(), {})
            fallback = re.sub(r"_(\w)", lambda m: m.group(1).upper(), field)
            json_name = known.get(field.replace("_", "").lower())
            if json_name is None:
                inline = known and kind.split(".")[-1].lower() in (fallback.lower(), f"probe{fallback.lower()}",
                                                                   f"lifecycle{fallback.lower()}")
                json_name = "-" if inline else fallback
            pointer = "?" if not shape and POINTERS.match(f"{owner}.{json_name}") else ""
            rows.append((owner, int(number), json_name, shape + pointer + kind))
for row in sorted(set(rows)):
    print("\t".join(map(str, row)))
