# Key policies. A role uses a key only through S3, and only for objects whose ARN, which S3 sends as
# encryption context, lies below the role's prefixes.
#
# The roles are named by `aws:PrincipalArn` and not as principals: permissions that are granted so
# are not limited by a session policy that does not speak of KMS, and Strongroom's leases speak of
# S3 only (IAM User Guide, "IAM role principals"). Auditors have no lease and are principals.

locals {
  administer_actions = [
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:UpdateKeyDescription",
  ]
  administer_statement = {
    Sid       = "AdministerWithoutUse"
    Effect    = "Allow"
    Principal = { AWS = concat(["arn:${var.partition}:iam::${var.account_id}:root"], var.key_administrators) }
    Action    = local.administer_actions
    Resource  = "*"
  }

  # What a role needs of a bucket's key: Decrypt to read; to create also GenerateDataKey, and Decrypt
  # because a multipart upload is read back by S3 when it is completed.
  key_uses = {
    for role, grant in local.roles : role => {
      bucket  = grant.bucket
      actions = length(grant.create) > 0 ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
      objects = [for prefix in distinct(concat(grant.read, grant.create)) : "${local.bucket_arns[grant.bucket]}/${prefix}*"]
    }
  }

  key_statements = {
    for bucket in ["data", "audit"] : bucket => concat(
      [local.administer_statement],
      [
        for role, use in local.key_uses : {
          Sid       = "UseThroughS3By${title(role)}"
          Effect    = "Allow"
          Principal = { AWS = "*" }
          Action    = use.actions
          Resource  = "*"
          Condition = {
            ArnEquals = { "aws:PrincipalArn" = local.role_arns[role] }
            StringEquals = {
              "kms:CallerAccount" = var.account_id
              "kms:ViaService"    = "s3.${var.region}.amazonaws.com"
            }
            StringLike = { "kms:EncryptionContext:aws:s3:arn" = use.objects }
          }
        } if use.bucket == bucket
      ],
      [
        for arns in [var.auditor_arns] : {
          Sid       = "AuditorsDecryptThroughS3"
          Effect    = "Allow"
          Principal = { AWS = arns }
          Action    = ["kms:Decrypt"]
          Resource  = "*"
          Condition = {
            StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" }
            StringLike   = { "kms:EncryptionContext:aws:s3:arn" = ["${local.bucket_arns.audit}/${var.audit_prefix}*"] }
          }
        } if bucket == "audit" && length(arns) > 0
      ],
    )
  }

  trail_arn = "arn:${var.partition}:cloudtrail:${var.region}:${var.account_id}:trail/${var.name}"
  log_key_statements = [
    local.administer_statement,
    {
      Sid       = "TrailEncrypts"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = ["kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = {
        StringEquals = { "aws:SourceArn" = local.trail_arn }
        StringLike   = { "kms:EncryptionContext:aws:cloudtrail:arn" = "arn:${var.partition}:cloudtrail:*:${var.account_id}:trail/*" }
      }
    },
    {
      Sid       = "TrailLooksUpKey"
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = ["kms:DescribeKey"]
      Resource  = "*"
      Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn } }
    },
    {
      # The account's own IAM says who reads the trail. Administrators of keys are not named.
      Sid       = "ReadersOfTheTrailDecrypt"
      Effect    = "Allow"
      Principal = { AWS = "arn:${var.partition}:iam::${var.account_id}:root" }
      Action    = ["kms:Decrypt"]
      Resource  = "*"
      Condition = {
        StringLike = { "kms:EncryptionContext:aws:cloudtrail:arn" = "arn:${var.partition}:cloudtrail:*:${var.account_id}:trail/*" }
      }
    },
  ]
}
