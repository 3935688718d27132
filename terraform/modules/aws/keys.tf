# One key for each bucket, so that each has a key policy of its own. These keys are the buckets'
# encryption at rest, under objects that Strongroom has sealed already; the keys that seal are in
# OpenBao or Vault (modules/vault).

# A key that is deleted takes with it what it encrypted, the locked log too, so Terraform refuses.
# The key of the trail's files is there without a trail, too: earlier files need it.
locals {
  key_names = toset(["data", "audit", "logs"])
}

resource "aws_kms_key" "this" {
  for_each = local.key_names

  description             = "Strongroom ${var.name}: encryption at rest of ${each.key}"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
  policy                  = module.policies.key_policies[each.key]
  tags                    = var.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "this" {
  for_each = local.key_names

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}
