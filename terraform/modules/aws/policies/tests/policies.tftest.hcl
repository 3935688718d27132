# Needs no provider. What the policies allow is compared with a plan in terraform/tests.

variables {
  account_id        = "111122223333"
  region            = "eu-central-1"
  name              = "strongroom"
  data_bucket       = "acme-data"
  audit_bucket      = "acme-audit"
  log_bucket        = "acme-data-logs"
  input_prefixes    = ["datasets/feedback/train/"]
  outputs_prefix    = "runs/"
  audit_prefix      = "strongroom/"
  owner_prefixes    = ["datasets/"]
  issuer_url        = "https://bao.acme.example/v1/identity/oidc"
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/bao.acme.example/v1/identity/oidc"
  audience          = "strongroom"
  broker_subject    = "entity-of-the-broker"
  log_subject       = "entity-of-the-log"
  key_arns          = { data = "arn:aws:kms:eu-central-1:111122223333:key/data", audit = "arn:aws:kms:eu-central-1:111122223333:key/audit" }
}

run "no_owner_no_network_and_no_auditor_by_default" {
  command = plan

  assert {
    condition     = join(" ", sort(keys(output.role_arns))) == "audit inputs log runs"
    error_message = "without owner_subject there are four roles"
  }

  assert {
    condition     = alltrue([for bucket in ["data", "audit"] : !strcontains(output.bucket_policies[bucket], "aws:SourceVpce")])
    error_message = "without vpc_endpoint_ids there is no condition on the network"
  }

  assert {
    condition     = !strcontains(output.bucket_policies.audit, "Auditors") && !strcontains(output.key_policies.audit, "Auditors")
    error_message = "without auditor_arns nobody but the roles for it reads the log"
  }
}

run "owner_has_a_role_of_their_own" {
  command = plan

  variables {
    owner_subject = "entity-of-the-owner"
  }

  assert {
    condition     = jsondecode(output.trust_policies.owner).Statement[0].Condition.StringEquals["bao.acme.example/v1/identity/oidc:sub"] == "entity-of-the-owner"
    error_message = "only the owner assumes the owner's role"
  }

  assert {
    condition     = !strcontains(output.role_policies.owner, "runs/") && !strcontains(output.role_policies.owner, "Delete")
    error_message = "the owner neither reaches runs nor deletes"
  }
}

run "network_is_asked_of_every_role" {
  command = plan

  variables {
    vpc_endpoint_ids = ["vpce-0123456789abcdef0"]
  }

  assert {
    condition = alltrue([
      for bucket in ["data", "audit"] : [
        for statement in jsondecode(output.bucket_policies[bucket]).Statement :
        jsonencode([statement.Effect, statement.Condition]) if statement.Sid == "DenyRolesFromOtherNetworks"
        ] == [jsonencode(["Deny", {
          ArnEquals       = { "aws:PrincipalArn" = [for role in ["audit", "inputs", "log", "runs"] : "arn:aws:iam::111122223333:role/strongroom-${role}"] }
          StringNotEquals = { "aws:SourceVpce" = ["vpce-0123456789abcdef0"] }
      }])]
    ])
    error_message = "each bucket denies every role from other networks"
  }
}

run "log_has_a_bucket_of_its_own" {
  command = plan

  variables {
    audit_bucket = "acme-data"
  }

  expect_failures = [output.access]
}

run "log_has_a_writer_of_its_own" {
  command = plan

  assert {
    condition     = jsondecode(output.trust_policies.log).Statement[0].Condition.StringEquals["bao.acme.example/v1/identity/oidc:sub"] == "entity-of-the-log"
    error_message = "only the releaser's identity assumes the role that writes the log"
  }

  assert {
    condition     = !strcontains(output.role_policies.audit, "Put") && !strcontains(output.role_policies.log, "Delete")
    error_message = "runs only read the log, and its writer removes nothing"
  }
}

run "run_does_not_write_the_log" {
  command = plan

  variables {
    log_subject = "entity-of-the-broker"
  }

  expect_failures = [output.releaser_log]
}

run "owner_does_not_write_the_log" {
  command = plan

  variables {
    log_subject   = "entity-of-the-owner"
    owner_subject = "entity-of-the-owner"
  }

  expect_failures = [output.releaser_log]
}

run "inputs_lie_apart_from_outputs" {
  command = plan

  variables {
    input_prefixes = ["runs/earlier/"]
  }

  expect_failures = [output.access]
}
