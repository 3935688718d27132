# The buckets, keys and identities for runs like examples/feedback/run.yaml, on gs://.
# `broker_subject` is an output of modules/vault.

terraform {
  required_version = ">= 1.7.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

provider "google" {
  project = var.project
}

variable "project" {
  description = "The project that owns everything."
  type        = string
}

variable "broker_subject" {
  description = "The broker's entity id, `subjects.broker` of modules/vault."
  type        = string
}

variable "log_subject" {
  description = "Entity id of the releaser's identity for the log, `subjects.log` of modules/vault."
  type        = string
}

module "strongroom" {
  source = "../.."

  project      = var.project
  location     = "europe-west3"
  data_bucket  = "acme-data"
  audit_bucket = "acme-audit"

  input_prefixes = [
    "datasets/feedback/held-out/",
    "datasets/feedback/train/",
    "models/smollm2-135m-instruct/",
  ]

  issuer_url           = "https://bao.acme.example/v1/identity/oidc"
  broker_subject       = var.broker_subject
  log_subject          = var.log_subject
  audit_retention_days = 365
}

output "run_file" {
  description = "Put this into the run file."
  value       = module.strongroom.run_file
}
