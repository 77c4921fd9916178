"""Model and policies together."""

import pytest

from gooseguard.core.errors import PolicyError
from gooseguard.serving.config import ServeConfig
from gooseguard.serving.deployment import make_deployment
from gooseguard.serving.problem import Problem


def test_packaged_policies_that_do_not_fit_are_left_out(scorer, policy_path):
    deployment = make_deployment(ServeConfig(policy=policy_path), scorer)
    assert list(deployment.policies) == ["mine"]
    assert deployment.digest == "0123456789ab"
    assert deployment.find_policy(None) is deployment.policy


def test_a_named_policy_that_does_not_fit_is_refused(scorer, policy_path, tmp_path):
    with pytest.raises(PolicyError, match="does not score"):
        make_deployment(ServeConfig(policy="default"), scorer)
    other = tmp_path / "other.toml"
    other.write_text('id = "other"\nversion = "2"\n[thresholds.spam]\nreview = 0.1\nblock = 0.2', "utf-8")
    with pytest.raises(PolicyError, match="does not score spam"):
        make_deployment(ServeConfig(policy=policy_path, policies=(str(other),)), scorer)


def test_further_policies_are_found_by_id(scorer, policy_path, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('id = "other"\nversion = "2"\n[thresholds.hate]\nreview = 0.1\nblock = 0.2', "utf-8")
    deployment = make_deployment(ServeConfig(policy=policy_path, policies=(str(other),)), scorer)
    assert deployment.find_policy("other@2").version == "2"
    with pytest.raises(Problem, match="mine"):
        deployment.find_policy("other@1")
