# With the schema of hashicorp/aws and no AWS behind it.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::111122223333:oidc-provider/bao.acme.example/v1/identity/oidc" }
  }
}

variables {
  data_bucket          = "acme-data"
  audit_bucket         = "acme-audit"
  input_prefixes       = ["datasets/feedback/train/"]
  issuer_url           = "https://bao.acme.example/v1/identity/oidc"
  broker_subject       = "entity-of-the-broker"
  log_subject          = "entity-of-the-log"
  audit_retention_days = 30
}

run "buckets_keys_and_roles" {
  command = plan

  assert {
    condition     = aws_s3_bucket.this["audit"].object_lock_enabled && !aws_s3_bucket.this["data"].object_lock_enabled
    error_message = "Object Lock is on for the audit bucket alone"
  }

  assert {
    condition     = aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].mode == "COMPLIANCE"
    error_message = "the log is kept under COMPLIANCE by default"
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : !bucket.force_destroy])
    error_message = "no bucket is destroyed with what is in it"
  }

  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.enable_key_rotation]) && length(aws_kms_key.this) == 3
    error_message = "three keys, all rotated"
  }

  assert {
    condition     = join(" ", [for rule in aws_s3_bucket_lifecycle_configuration.logs.rule : rule.filter[0].prefix if length(rule.expiration) > 0]) == "s3/"
    error_message = "access logs expire, and CloudTrail's files do not"
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.this : role.max_session_duration == 3600]) && length(aws_iam_role.this) == 4
    error_message = "four roles with sessions of one hour at most"
  }
}

run "trail_and_oidc_provider_can_be_the_account_s" {
  command = plan

  variables {
    cloudtrail        = false
    oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/bao.acme.example/v1/identity/oidc"
  }

  assert {
    condition     = length(aws_cloudtrail.this) == 0 && length(aws_iam_openid_connect_provider.this) == 0
    error_message = "neither trail nor provider is made"
  }

  assert {
    condition     = contains(keys(aws_kms_key.this), "logs")
    error_message = "turning the trail off leaves the key of its earlier files"
  }
}

run "owner_role_on_request" {
  command = plan

  variables {
    owner_subject = "entity-of-the-owner"
  }

  assert {
    condition     = aws_iam_role.this["owner"].name == "strongroom-owner"
    error_message = "the owner's role is made"
  }
}
