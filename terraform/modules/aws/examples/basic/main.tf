# The buckets, keys and roles for runs like examples/feedback/run.yaml.
# `broker_subject`, `log_subject` and `owner_subject` are outputs of modules/vault.

terraform {
  required_version = ">= 1.7.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Where the data stays. The run file's part names it in each endpoint."
  type        = string
  default     = "us-east-1"
}

variable "broker_subject" {
  description = "The broker's entity id, `subjects.broker` of modules/vault."
  type        = string
}

variable "log_subject" {
  description = "Entity id of the releaser's identity for the log, `subjects.log` of modules/vault."
  type        = string
}

variable "owner_subject" {
  description = "The data owner's entity id, `subjects.owner` of modules/vault. Without the owner's role nobody can write inputs."
  type        = string
}

variable "auditor_arns" {
  description = "Roles or users that exist and read the audit log, such as arn:aws:iam::111122223333:role/auditor."
  type        = list(string)
  default     = []
}

module "strongroom" {
  source = "../.."

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
  owner_subject        = var.owner_subject
  auditor_arns         = var.auditor_arns
  audit_retention_days = 365
}

output "run_file" {
  description = "Put this into the run file."
  value       = module.strongroom.run_file
}

output "releaser_log" {
  description = "The bucket's part of `log` in releaser.json."
  value       = module.strongroom.releaser_log
}

output "access" {
  description = "The same as values."
  value       = module.strongroom.access
}
