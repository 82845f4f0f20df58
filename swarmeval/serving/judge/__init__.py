"""The judge over HTTP: /v1/verdicts, and SandboxFusion's API."""
