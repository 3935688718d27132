# Keys and identities for runs like examples/feedback/run.yaml. The provider takes address and token
# from VAULT_ADDR and VAULT_TOKEN.

terraform {
  required_version = ">= 1.7.0"

  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = "~> 5.6"
    }
  }
}

provider "vault" {}

module "strongroom" {
  source = "../.."

  address      = "https://bao.acme.example"
  data_keys    = ["feedback"]
  outputs_keys = ["feedback-outputs"]
  owner        = true

  bound_cidrs = {
    broker   = ["10.0.1.0/24"]
    releaser = ["10.0.2.0/24"]
    log      = ["10.0.2.0/24"] # the releaser's, too
    sealer   = ["10.0.3.0/24"]
    owner    = ["10.0.4.0/24"]
  }
}

output "keys" {
  description = "spec.keys of the run file."
  value       = module.strongroom.keys["feedback/feedback-outputs"]
}

output "identity" {
  description = "spec.identity of the run file."
  value       = module.strongroom.identity
}

output "releaser_keys" {
  description = "keys of releaser.json."
  value       = module.strongroom.releaser_keys
}

output "releaser_log" {
  description = "The key service's part of log in releaser.json."
  value       = module.strongroom.releaser_log
}

output "log_subject" {
  description = "For modules/aws or modules/gcp."
  value       = module.strongroom.subjects.log
}

output "broker_subject" {
  description = "For modules/aws or modules/gcp."
  value       = module.strongroom.subjects.broker
}

output "owner_subject" {
  description = "For modules/aws."
  value       = module.strongroom.subjects.owner
}
