# Rows → sealed datasets → a training run → its report, in one `terraform apply` on the embedded
# stack. README.md beside this file says how to call it.

terraform {
  required_version = ">= 1.10"

  required_providers {
    strongroom = {
      source  = "strongroom/strongroom"
      version = ">= 0.1.0, < 0.2.0"
    }
  }
}

provider "strongroom" {
  command = var.command
  state   = var.state
}

# The customer's side: buckets, keys, identities.
module "customer" {
  source = "../../terraform/modules/embedded"
}

locals {
  # A dataset never changes, so other rows go under another prefix.
  prefix   = "${module.customer.data_uri}datasets/terraform/"
  train    = "${var.rows}/train.jsonl"
  held_out = "${var.rows}/held_out.jsonl"
}

resource "strongroom_dataset" "train" {
  source = local.train
  uri    = "${local.prefix}${substr(filesha256(local.train), 0, 12)}/"
  key    = module.customer.keys.data
}

resource "strongroom_dataset" "held_out" {
  source = local.held_out
  uri    = "${local.prefix}${substr(filesha256(local.held_out), 0, 12)}/"
  key    = module.customer.keys.data
}

# Read at `terraform plan` once its inputs are known: mistakes and denials are shown there.
data "strongroom_plan" "this" {
  run_file = "${path.module}/run.yaml"
  params = {
    train         = strongroom_dataset.train.id
    held_out      = strongroom_dataset.held_out.id
    model         = module.customer.model.base
    model_digest  = module.customer.model.digest
    steps         = var.steps
    learning_rate = var.learning_rate
    ttl           = var.ttl
  }
}

resource "strongroom_run" "this" {
  run_file = data.strongroom_plan.this.run_file
  params   = data.strongroom_plan.this.params
  run_id   = data.strongroom_plan.this.id
  intent   = data.strongroom_plan.this.intent
  wait     = var.wait
}
