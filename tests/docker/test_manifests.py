"""What is in docker/ besides the image: linted, rendered and validated by the real tools. `make manifests` has them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headrace import __version__
from headrace.config import ServerConfig
from server.options import ENVIRONMENT

DOCKER = Path(__file__).parents[2] / "docker"
CHART = DOCKER / "helm" / "headrace"
KSERVE = ("cluster-serving-runtime.yaml", "inference-service.yaml")
VERSIONS = ("1.29", "1.33", "1.35")
"""Of Kubernetes: the oldest that the chart takes, the first with image volumes by default, a late one."""
INFORMATION = 1
"""Severity of what the linter says by the way, such as that an icon is recommended."""
NEEDED = "{} is not installed: make manifests"

CASES = {
    "a claim": {"models": {"persistentVolumeClaim": "models"}},
    "everything": {
        "models": {"persistentVolumeClaim": "models"},
        "image": {"repository": "registry.example.com/headrace", "tag": "gpu"},
        "imagePullSecrets": [{"name": "registry"}],
        "config": {"log_format": "json", "replicas": 2, "lazy": True},
        "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
        "envFrom": [{"secretRef": {"name": "storage"}}],
        "gpu": {"count": 1},
        "cache": {"persistentVolumeClaim": "cache"},
        "drain": {"preStopSeconds": 3},
        "autoscaling": {"enabled": True},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"app": "web"}}}]},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/models"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "ml"},
    },
    "s3": {
        "models": {"url": "s3://bucket/models"},
        "networkPolicy": {"enabled": True},
        "autoscaling": {"enabled": True, "metric": "queue"},
        "podDisruptionBudget": {"enabled": False},
    },
    "an image volume": {"models": {"image": "registry.example.com/models:3", "poll": False}},
}


def needed(module):
    return pytest.importorskip(module, reason=NEEDED.format(module))


def render(values, name="headrace"):
    helm = needed("helm_python")
    rendered = helm.Chart.load(str(CHART)).render(values, name=name, namespace="models")
    documents = []
    for file, text in sorted(rendered.items()):
        if file.endswith(".yaml"):
            documents += [each for each in yaml.safe_load_all(text) if each]
    return documents


def one(documents, kind):
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def container_of(documents):
    return one(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_what_the_chart_renders_is_valid_to_the_last_field(case, version):
    validate = needed("kubernetes_validate")
    if case == "an image volume" and version == "1.29":
        pytest.skip("image volumes came with 1.31")
    kinds = set()
    for document in render(CASES[case]):
        kinds.add(document["kind"])
        if document["kind"] != "ServiceMonitor":  # the operator's own
            validate.validate(document, version, strict=True)
    assert {"Deployment", "Service", "ServiceAccount"} <= kinds
    assert ("HorizontalPodAutoscaler" in kinds) is ("autoscaling" in CASES[case])
    assert ("PodDisruptionBudget" in kinds) is ("podDisruptionBudget" not in CASES[case])


def test_the_linter_has_nothing_to_say():
    helm = needed("helm_python")
    told = helm.lint(str(CHART), CASES["everything"], strict=True)
    assert told["errors"] == []
    assert [each for each in told["messages"] if each["severity"] > INFORMATION] == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "exactly one of"),
        ({"models": {"url": "s3://a/b", "image": "c"}}, "exactly one of"),
        ({"models": {"persistentVolumeClaim": "m"}, "replicas": 3}, "replicas"),
        ({"models": {"persistentVolumeClaim": "m"}, "config": {"http_port": 1}}, "http_port"),
        ({"models": {"url": "bucket/models"}}, "url"),
        ({"models": {"persistentVolumeClaim": "m"}, "autoscaling": {"metric": "gpu"}}, "metric"),
    ],
)
def test_values_that_are_wrong_or_misspelt_are_refused_by_name(values, says):
    helm = needed("helm_python")
    with pytest.raises(helm.HelmError, match=says):
        render(values)


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_restricted_security_standard(case):
    pod = one(render(CASES[case]), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert all(mount.get("readOnly") or mount["name"] == "cache" for mount in container["volumeMounts"])


@pytest.mark.parametrize("case", CASES)
def test_every_variable_is_an_option_that_the_server_has(case):
    known = {f"{ENVIRONMENT}{name.upper()}" for name in ServerConfig.model_fields}
    names = {each["name"] for each in container_of(render(CASES[case]))["env"]}
    assert {name for name in names if name.startswith(ENVIRONMENT)} <= known
    assert "HEADRACE_DRAIN_LAG_S" in names


def test_the_grace_period_is_long_enough_for_the_lag_and_the_drain():
    values = CASES["a claim"] | {"drain": {"lagSeconds": 7, "graceSeconds": 20, "preStopSeconds": 2}}
    pod = one(render(values), "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 7 + 20 + 2
    assert pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "2"]


def test_the_hpa_scales_the_deployment_that_is_there():
    documents = render(CASES["s3"], name="blue")
    deployment, hpa = one(documents, "Deployment"), one(documents, "HorizontalPodAutoscaler")
    assert hpa["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"] == "blue-headrace"
    assert "replicas" not in deployment["spec"], "two would set it in turns"
    assert hpa["spec"]["metrics"][0]["pods"]["metric"]["name"] == "headrace_queue_rows"


def test_there_is_one_version_in_all_places():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    runtime = yaml.safe_load((DOCKER / "kserve" / KSERVE[0]).read_text())
    assert runtime["spec"]["containers"][0]["image"] == f"headrace:{__version__}"


@pytest.mark.parametrize("file", KSERVE)
def test_kserve_takes_it_by_its_own_schema(file):
    folder = os.environ.get("KSERVE_CRDS")
    if not folder:
        pytest.skip("KSERVE_CRDS names no folder with KServe's CRDs")
    checked = needed("jsonschema")
    document = yaml.safe_load((DOCKER / "kserve" / file).read_text())
    crds = [yaml.safe_load(each.read_text()) for each in Path(folder).glob("*.yaml")]
    (crd,) = [each for each in crds if each["spec"]["names"]["kind"] == document["kind"]]
    version = document["apiVersion"].partition("/")[2]
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in crd["spec"]["versions"] if each["name"] == version]
    strict = _strict(schema)
    strict["properties"]["metadata"] = {"type": "object"}
    errors = [f"{'/'.join(map(str, each.path))}: {each.message}" for each in _errors(checked, strict, document)]
    assert not errors


def test_the_inference_service_names_the_runtime_and_a_protocol_that_it_speaks():
    runtime, service = (yaml.safe_load((DOCKER / "kserve" / file).read_text()) for file in KSERVE)
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert model["modelFormat"]["name"] in [each["name"] for each in runtime["spec"]["supportedModelFormats"]]


def test_compose_takes_the_file_and_everything_it_mounts_is_there():
    compose = Path(sys.executable).with_name("docker-compose")
    if not compose.exists():
        pytest.skip(NEEDED.format("docker-compose"))
    command = [compose, "-f", DOCKER / "compose.yaml", "--profile", "load", "config"]
    text = subprocess.run(command, capture_output=True, text=True, check=False)
    assert text.returncode == 0, text.stderr
    assert text.stderr == ""
    document = yaml.safe_load(text.stdout)
    assert set(document["services"]) == {"server", "prometheus", "grafana", "load"}
    for service in document["services"].values():
        for mount in service.get("volumes", ()):
            assert mount["type"] == "volume" or Path(mount["source"]).exists(), mount
    grace = document["services"]["server"]["stop_grace_period"]
    assert int(re.match(r"(\d+)s", grace)[1]) > ServerConfig().drain_grace_s


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_every_requirement_of_an_image_has_its_version_and_its_hashes(target):
    text = (DOCKER / f"requirements-{target}.txt").read_text()
    names = re.findall(r"^([a-z0-9][\w.\[\],-]*)==\S+", text, re.MULTILINE)
    assert {"numpy", "fastapi", f"onnxruntime{'-gpu' * (target == 'gpu')}", "setuptools", "s3fs"} <= set(names)
    unhashed = re.findall(r"^[a-z0-9][^\n]*[^\\\n]$", text, re.MULTILINE)
    assert unhashed == []
    assert "://" not in re.sub(r"#.*", "", text), "no host of a registry"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck (Debian: shellcheck) is not installed")
def test_the_scripts_are_clean():
    result = subprocess.run(["shellcheck", *DOCKER.glob("*.sh")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def _strict(schema):
    """A structural schema as JSON schema in which a field that is not named is an error."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes") and key != "format"}
    made = {
        key: {name: _strict(each) for name, each in value.items()} if key == "properties" else _strict(value)
        for key, value in kept.items()
    }
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    free = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in made
    if "properties" in made and not free:
        made["additionalProperties"] = False
    return made


def _errors(jsonschema, schema, document):
    return jsonschema.Draft202012Validator(schema).iter_errors(document)
