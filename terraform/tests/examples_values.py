"""The inputs of the modules' examples, for the folders that need no provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODULES = Path(__file__).parents[1] / "modules"

_ISSUER = "bao.acme.example/v1/identity/oidc"

AWS_EXAMPLE: dict[str, Any] = {
    "account_id": "111122223333",
    "region": "us-east-1",
    "name": "strongroom",
    "data_bucket": "acme-data",
    "audit_bucket": "acme-audit",
    "log_bucket": "acme-data-logs",
    "input_prefixes": [
        "datasets/feedback/held-out/",
        "datasets/feedback/train/",
        "models/smollm2-135m-instruct/",
    ],
    "outputs_prefix": "runs/",
    "audit_prefix": "strongroom/",
    "owner_prefixes": ["datasets/", "evaluators/", "models/"],
    "issuer_url": f"https://{_ISSUER}",
    "oidc_provider_arn": f"arn:aws:iam::111122223333:oidc-provider/{_ISSUER}",
    "audience": "strongroom",
    "broker_subject": "entity-of-the-broker",
    "log_subject": "entity-of-the-log",
    "owner_subject": "entity-of-the-owner",
    "auditor_arns": ["arn:aws:iam::444455556666:role/security/auditor"],
    "key_arns": {
        "data": "arn:aws:kms:us-east-1:111122223333:key/data",
        "audit": "arn:aws:kms:us-east-1:111122223333:key/audit",
    },
}
"""The inputs of modules/aws/examples/basic, and what AWS would add to them."""

VAULT_EXAMPLE: dict[str, Any] = {
    "transit_mount": "transit",
    "data_keys": ["feedback"],
    "outputs_keys": ["feedback-outputs"],
    "audit_key": "audit-log",
    "signer_key": "dataset-signer",
    "broker_oidc_role": "broker",
    "log_oidc_role": "log",
}
"""The inputs of modules/vault/examples/basic; the OIDC roles have the names that the plan uses."""

GCP_EXAMPLE: dict[str, Any] = {
    "data_bucket": "acme-data",
    "audit_bucket": "acme-audit",
    "input_prefixes": AWS_EXAMPLE["input_prefixes"],
    "outputs_prefix": "runs/",
    "audit_prefix": "strongroom/",
    "broker_subject": "entity-of-the-broker",
    "log_subject": "entity-of-the-log",
    "service_accounts": {
        account: f"strongroom-{account}@acme-ml.iam.gserviceaccount.com"
        for account in ("inputs", "runs", "audit", "log")
    },
}
"""The inputs of modules/gcp/examples/basic, and what Google would add to them."""
