"""The suite: every proxy and aggregation on every benchmark that is here, under one fixed protocol."""

from trainless.suite.benchmarks import Benchmark, find_benchmarks
from trainless.suite.images import suite_images
from trainless.suite.proxies import proxy_from_file
from trainless.suite.run import Suite, SuiteResult, run_suite

__all__ = ["Benchmark", "Suite", "SuiteResult", "find_benchmarks", "proxy_from_file", "run_suite", "suite_images"]
