# Who may do what, as policy documents. No provider: Terraform alone evaluates it, so tests compare
# it with what `strongroom plan` lists, on every machine.

locals {
  bucket_arns = {
    data  = "arn:${var.partition}:s3:::${var.data_bucket}"
    audit = "arn:${var.partition}:s3:::${var.audit_bucket}"
    logs  = "arn:${var.partition}:s3:::${var.log_bucket}"
  }

  # The upper bound over all runs. Each lease narrows its role further by a session policy.
  # No role reads inputs and creates objects, but the owner's.
  run_roles = {
    inputs = { bucket = "data", read = var.input_prefixes, create = [], subject = var.broker_subject }
    runs   = { bucket = "data", read = [var.outputs_prefix], create = [var.outputs_prefix], subject = var.broker_subject }
    audit  = { bucket = "audit", read = [var.audit_prefix], create = [var.audit_prefix], subject = var.broker_subject }
  }
  owner_role = {
    owner = { bucket = "data", read = var.owner_prefixes, create = var.owner_prefixes, subject = var.owner_subject }
  }
  roles = merge(local.run_roles, { for role, grant in local.owner_role : role => grant if var.owner_subject != null })

  role_names = { for role in keys(local.roles) : role => "${var.name}-${role}" }
  role_arns = {
    for role, name in local.role_names : role => "arn:${var.partition}:iam::${var.account_id}:role/${name}"
  }

  settings_actions = [
    "s3:GetBucketLocation",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
  ]
  create_actions = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]

  role_statements = {
    for role, grant in local.roles : role => concat(
      [
        {
          Sid      = "ReadObjects"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = [for prefix in grant.read : "${local.bucket_arns[grant.bucket]}/${prefix}*"]
        },
        {
          Sid       = "ListBelowPrefixes"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [local.bucket_arns[grant.bucket]]
          Condition = { StringLike = { "s3:prefix" = [for prefix in grant.read : "${prefix}*"] } }
        },
        {
          Sid      = "ReadBucketSettings"
          Effect   = "Allow"
          Action   = local.settings_actions
          Resource = [local.bucket_arns[grant.bucket]]
        },
      ],
      [
        for prefixes in [grant.create] : {
          Sid      = "CreateObjects"
          Effect   = "Allow"
          Action   = local.create_actions
          Resource = [for prefix in prefixes : "${local.bucket_arns[grant.bucket]}/${prefix}*"]
        } if length(prefixes) > 0
      ],
    )
  }

  issuer = trimprefix(var.issuer_url, "https://")
  trust_statements = {
    for role, grant in local.roles : role => [
      {
        Sid       = "ExactAudienceAndSubject"
        Effect    = "Allow"
        Principal = { Federated = var.oidc_provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "${local.issuer}:aud" = var.audience
            "${local.issuer}:sub" = grant.subject
          }
        }
      }
    ]
  }
}
