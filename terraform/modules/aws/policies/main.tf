# Who may do what, as policy documents. No provider: Terraform alone evaluates it, so tests compare
# it with what `strongroom plan` lists, on every machine.

locals {
  bucket_arns = {
    data  = "arn:${var.partition}:s3:::${var.data_bucket}"
    audit = "arn:${var.partition}:s3:::${var.audit_bucket}"
    logs  = "arn:${var.partition}:s3:::${var.log_bucket}"
  }

  # The upper bound over all runs. Each lease narrows its role further by a session policy.
  # No role reads inputs and creates objects, but the owner's. `settings`: of the bucket; `history`:
  # earlier versions of what may be read.
  run_roles = {
    inputs = { bucket = "data", read = var.input_prefixes, create = [], settings = true, history = false, subject = var.broker_subject }
    runs   = { bucket = "data", read = [var.outputs_prefix], create = [var.outputs_prefix], settings = true, history = false, subject = var.broker_subject }
    audit  = { bucket = "audit", read = [var.audit_prefix], create = [], settings = true, history = true, subject = var.broker_subject }
  }
  # The log's one writer is the releaser, with an identity that no run has.
  log_role = {
    log = { bucket = "audit", read = [var.audit_prefix], create = [var.audit_prefix], settings = false, history = true, subject = var.log_subject }
  }
  owner_role = {
    owner = { bucket = "data", read = var.owner_prefixes, create = var.owner_prefixes, settings = true, history = false, subject = var.owner_subject }
  }
  roles = merge(local.run_roles, local.log_role, { for role, grant in local.owner_role : role => grant if var.owner_subject != null })

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

  read_actions = {
    for history in [false, true] : tostring(history) => {
      objects = history ? ["s3:GetObject", "s3:GetObjectVersion"] : ["s3:GetObject"]
      listing = history ? ["s3:ListBucket", "s3:ListBucketVersions"] : ["s3:ListBucket"]
    }
  }

  role_statements = {
    for role, grant in local.roles : role => concat(
      [
        {
          Sid      = "ReadObjects"
          Effect   = "Allow"
          Action   = local.read_actions[tostring(grant.history)].objects
          Resource = [for prefix in grant.read : "${local.bucket_arns[grant.bucket]}/${prefix}*"]
        },
        {
          Sid       = "ListBelowPrefixes"
          Effect    = "Allow"
          Action    = local.read_actions[tostring(grant.history)].listing
          Resource  = [local.bucket_arns[grant.bucket]]
          Condition = { StringLike = { "s3:prefix" = [for prefix in grant.read : "${prefix}*"] } }
        },
      ],
      [
        for actions in [local.settings_actions] : {
          Sid      = "ReadBucketSettings"
          Effect   = "Allow"
          Action   = actions
          Resource = [local.bucket_arns[grant.bucket]]
        } if grant.settings
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
