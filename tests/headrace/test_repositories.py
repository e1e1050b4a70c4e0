from pathlib import Path

import pytest

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from headrace.parsing import parse


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("models", Path("models")),
        ("/srv/models/", Path("/srv/models")),
        ("s3://bucket//models/", "s3://bucket//models/"),  # as a path it would lose a slash
        ("S3://Bucket/x", "s3://Bucket/x"),
        ("https://host/a?b=c", "https://host/a?b=c"),
        ("file:///srv/my%20models", Path("/srv/my models")),
        ("file://localhost/srv", Path("/srv")),
        (Path("models"), Path("models")),
    ],
)
def test_a_repository_is_a_folder_or_a_url_and_survives_the_way_to_a_replica(said, expected):
    config = ServerConfig(model_repository=(said,))
    assert config.model_repository == (expected,)
    assert isinstance(config.model_repository[0], Path) == isinstance(expected, Path)
    assert ServerConfig.model_validate_json(config.model_dump_json()) == config


def test_a_file_url_of_another_machine_is_refused():
    with pytest.raises(ConfigError, match=r"'model_repository.0': .*a folder of this machine, file:///host/srv"):
        parse(ServerConfig, {"model_repository": ["file://host/srv"]}, "")
