# Bucket policies. They only deny, but for auditors and log delivery: what else is allowed stands in
# the roles.

locals {
  whole_bucket = { for bucket, arn in local.bucket_arns : bucket => [arn, "${arn}/*"] }

  transport_statements = {
    for bucket in keys(local.bucket_arns) : bucket => [
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = local.whole_bucket[bucket]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "DenyOldTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = local.whole_bucket[bucket]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  }

  # A request without an encryption header gets the bucket's own key; one with a header must name it.
  encryption_statements = {
    for bucket in ["data", "audit"] : bucket => [
      {
        Sid       = "DenyOtherEncryption"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:PutObject"
        Resource  = ["${local.bucket_arns[bucket]}/*"]
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption" = "aws:kms" }
        }
      },
      {
        Sid       = "DenyOtherKmsKey"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:PutObject"
        Resource  = ["${local.bucket_arns[bucket]}/*"]
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = var.key_arns[bucket] }
        }
      },
      {
        Sid       = "DenyKeysFromTheRequest"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:PutObject"
        Resource  = ["${local.bucket_arns[bucket]}/*"]
        Condition = { Null = { "s3:x-amz-server-side-encryption-customer-algorithm" = "false" } }
      },
    ]
  }

  # IAM has no "create": s3:PutObject also overwrites. Runs and the log always send If-None-Match; the
  # log sends If-Match where it replaces its checkpoint, or what somebody wrote over. So a put without
  # either comes from somebody else. Parts of a multipart upload create no object; its completion does.
  conditional_statements = {
    data = [{
      Sid       = "DenyOverwritingRuns"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "s3:PutObject"
      Resource  = ["${local.bucket_arns.data}/${var.outputs_prefix}*"]
      Condition = {
        Bool = { "s3:ObjectCreationOperation" = "true" }
        Null = { "s3:if-none-match" = "true" }
      }
    }]
    audit = [{
      Sid       = "DenyOverwritingTheLog"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "s3:PutObject"
      Resource  = ["${local.bucket_arns.audit}/${var.audit_prefix}*"]
      Condition = {
        Bool = { "s3:ObjectCreationOperation" = "true" }
        Null = { "s3:if-match" = "true", "s3:if-none-match" = "true" }
      }
    }]
  }

  # The log has one writer. Whatever else IAM allows, in this account or another, is refused here.
  writer_statements = [{
    Sid       = "DenyOtherWritersOfTheLog"
    Effect    = "Deny"
    Principal = { AWS = "*" }
    Action    = "s3:PutObject"
    Resource  = ["${local.bucket_arns.audit}/${var.audit_prefix}*"]
    Condition = { ArnNotEquals = { "aws:PrincipalArn" = local.role_arns.log } }
  }]

  # Object Lock keeps the audit bucket's versions; without this a delete marker could still hide one.
  # The log bucket has no Object Lock, which S3's delivery of access logs would not take: there this
  # alone keeps CloudTrail's files.
  removal_statements = {
    for bucket, objects in { audit = "*", logs = "cloudtrail/*" } : bucket => [{
      Sid       = "DenyRemoval"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = ["s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion"]
      Resource  = ["${local.bucket_arns[bucket]}/${objects}"]
    }]
  }

  network_statements = {
    for bucket in ["data", "audit"] : bucket => [
      for endpoints in [var.vpc_endpoint_ids] : {
        Sid       = "DenyRolesFromOtherNetworks"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = local.whole_bucket[bucket]
        Condition = {
          ArnEquals       = { "aws:PrincipalArn" = values(local.role_arns) }
          StringNotEquals = { "aws:SourceVpce" = endpoints }
        }
      } if length(endpoints) > 0
    ]
  }

  # Who checks the log comes with credentials of their own, which no lease narrows. Earlier versions
  # show what was written over.
  auditor_statements = [
    for statement in [
      {
        Sid       = "AuditorsReadTheLog"
        Effect    = "Allow"
        Principal = { AWS = var.auditor_arns }
        Action    = local.read_actions["true"].objects
        Resource  = ["${local.bucket_arns.audit}/${var.audit_prefix}*"]
      },
      {
        Sid       = "AuditorsListTheLog"
        Effect    = "Allow"
        Principal = { AWS = var.auditor_arns }
        Action    = local.read_actions["true"].listing
        Resource  = [local.bucket_arns.audit]
        Condition = { StringLike = { "s3:prefix" = ["${var.audit_prefix}*"] } }
      },
    ] : statement if length(var.auditor_arns) > 0
  ]

  delivery_statements = concat([
    for bucket in ["data", "audit"] : {
      Sid       = "S3DeliversAccessLogsOf${title(bucket)}"
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${local.bucket_arns.logs}/s3/${bucket}/*"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = local.bucket_arns[bucket] }
        StringEquals = { "aws:SourceAccount" = var.account_id }
      }
    }
    ], [
    {
      Sid       = "TrailLooksUpBucket"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "s3:GetBucketAcl"
      Resource  = [local.bucket_arns.logs]
      Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn } }
    },
    {
      Sid       = "TrailDelivers"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = ["${local.bucket_arns.logs}/cloudtrail/AWSLogs/${var.account_id}/*"]
      Condition = {
        StringEquals = { "aws:SourceArn" = local.trail_arn, "s3:x-amz-acl" = "bucket-owner-full-control" }
      }
    },
  ])
}
