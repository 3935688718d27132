# Who may do what, as permissions and conditions. No provider: Terraform alone evaluates it, so tests
# compare it with what `strongroom plan` lists, on every machine.

locals {
  permissions = {
    read     = ["storage.objects.get", "storage.objects.list"]
    create   = ["storage.multipartUploads.abort", "storage.multipartUploads.create", "storage.multipartUploads.listParts", "storage.objects.create"]
    replace  = ["storage.objects.delete"]
    settings = ["storage.buckets.get"]
  }

  # Cloud Storage counts replacing an object as deleting it. One object is replaced as the log grows:
  # its newest checkpoint, by compare-and-swap. Runs only read the log; its one writer is the releaser.
  # Earlier versions are read and listed by the same permissions.
  uses = {
    inputs = { bucket = var.data_bucket, read = var.input_prefixes, create = [], replace = [], settings = true }
    runs   = { bucket = var.data_bucket, read = [var.outputs_prefix], create = [var.outputs_prefix], replace = [], settings = true }
    audit  = { bucket = var.audit_bucket, read = [var.audit_prefix], create = [], replace = [], settings = true }
    log    = { bucket = var.audit_bucket, read = [var.audit_prefix], create = [var.audit_prefix], replace = ["${var.audit_prefix}checkpoint"], settings = false }
  }
  subjects = { for account in keys(local.uses) : account => account == "log" ? var.log_subject : var.broker_subject }

  # One binding for each prefix: a condition takes at most 12 logical operators.
  grants = flatten([
    for account, use in local.uses : concat(
      [
        for prefix in use.read : {
          account = account
          bucket  = use.bucket
          right   = "read"
          of      = prefix
          condition = join(" || ", [
            "resource.name.startsWith(\"projects/_/buckets/${use.bucket}/objects/${prefix}\")",
            "api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"${prefix}\")",
          ])
        }
      ],
      [
        for prefix in use.create : {
          account   = account
          bucket    = use.bucket
          right     = "create"
          of        = prefix
          condition = "resource.name.startsWith(\"projects/_/buckets/${use.bucket}/objects/${prefix}\")"
        }
      ],
      [
        for object in use.replace : {
          account   = account
          bucket    = use.bucket
          right     = "replace"
          of        = object
          condition = "resource.name == \"projects/_/buckets/${use.bucket}/objects/${object}\""
        }
      ],
      [
        for bucket in [use.bucket] : {
          account   = account
          bucket    = bucket
          right     = "settings"
          of        = ""
          condition = "resource.name == \"projects/_/buckets/${bucket}\""
        } if use.settings
      ],
    )
  ])
}
