"""The models of the inferencer's tests."""

from tests.test_apis.conftest import nano, nano_files, scenes  # noqa: F401
