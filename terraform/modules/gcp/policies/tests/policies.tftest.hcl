# Needs no provider. What the grants allow is compared with a plan in terraform/tests.

variables {
  data_bucket    = "acme-data"
  audit_bucket   = "acme-audit"
  input_prefixes = ["datasets/feedback/train/"]
  outputs_prefix = "runs/"
  audit_prefix   = "strongroom/"
  broker_subject = "entity-of-the-broker"
  log_subject    = "entity-of-the-log"

  service_accounts = {
    inputs = "strongroom-inputs@acme-ml.iam.gserviceaccount.com"
    runs   = "strongroom-runs@acme-ml.iam.gserviceaccount.com"
    audit  = "strongroom-audit@acme-ml.iam.gserviceaccount.com"
    log    = "strongroom-log@acme-ml.iam.gserviceaccount.com"
  }
}

run "no_attestation_by_default" {
  command = plan

  assert {
    condition     = output.confidential_space_condition == null
    error_message = "without an image there is no Confidential Space provider"
  }
}

run "log_has_a_bucket_of_its_own" {
  command = plan

  variables {
    audit_bucket = "acme-data"
  }

  expect_failures = [output.grants]
}

run "run_does_not_write_the_log" {
  command = plan

  variables {
    log_subject = "entity-of-the-broker"
  }

  expect_failures = [output.subjects]
}

run "inputs_lie_apart_from_outputs" {
  command = plan

  variables {
    input_prefixes = ["runs/earlier/"]
  }

  expect_failures = [output.grants]
}
