"""The table of controls. One is added by its predicate and a row here.

A row never says that anybody is compliant: it says what was looked at in this run, with what
result, and which published controls an auditor may read it under. What only the customer can
answer for, what is design and not evidence, and what nobody tested stand in the same table.
"""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.audit.report.controls import (
    access,
    approval,
    keys,
    numbers,
    objects,
    order,
    walls,
)
from strongroom.audit.report.controls.row import Case, Control, Finding, Rule


def people(_case: Case) -> Iterator[Finding]:
    """The log knows roles and keys, and nobody's name."""
    says = "who administers the machine, the buckets and the key services, and whose they are, is "
    yield Finding(says + "not in the log", True)


CONTROLS: tuple[Rule, ...] = (
    Rule(
        "admission",
        "Was the plan admitted by the whole policy before anything was done?",
        "SOC 2 CC8.1 · NIST SP 800-53 CM-3",
        approval.admission,
    ),
    Rule(
        "inputs",
        "Are data, base model and evaluator those that the plan pins?",
        "EU AI Act Annex IV · ISO 42001 A.7 · NIST AI RMF Map",
        approval.inputs,
    ),
    Rule(
        "receivers",
        "Did keys go only to enclaves that run the planned code at the planned assurance?",
        "NIST SC-12 · ISO 27001 A.8.24",
        keys.receivers,
    ),
    Rule(
        "custody",
        "Are the keys the planned ones, from the planned key services?",
        "SOC 2 CC6.1 · ISO 27001 A.8.24 · HIPAA 164.312(a)(2)(iv) · NIST SC-12",
        keys.custody,
    ),
    Rule(
        "leases",
        "Was access scoped as planned, and short-lived?",
        "SOC 2 CC6.1, CC6.6 · NIST AC-6 · PCI DSS 7",
        access.leases,
    ),
    Rule(
        "isolation",
        "Was plaintext processed behind walls that were all tried from inside, and held?",
        "NIST SC-7, SC-39 · SOC 2 CC6.1",
        walls.isolation,
    ),
    Rule(
        "data",
        "Was every shard authenticated in the enclave before it was used?",
        "SOC 2 CC6.7 · GDPR 32 · NIST SC-13, SC-28, SI-7",
        objects.data,
    ),
    Rule(
        "outputs",
        "Is every output sealed, as logged, and signed by an enclave that held keys?",
        "ISO 27001 A.8.24 · GDPR 32 · NIST SC-28, AU-10",
        objects.outputs,
    ),
    Rule(
        "result",
        "Is what was published the checkpoint that training chose?",
        "EU AI Act Annex IV · ISO 42001 A.7",
        objects.result,
    ),
    Rule(
        "channel",
        "Did only declared numbers leave the enclave, and no more than the plan counts?",
        "NIST SC-7(10), AC-4 · SOC 2 CC6.7",
        numbers.channel,
    ),
    Rule(
        "evaluations",
        "Was the model scored on all held-out records, before and after?",
        "EU AI Act 15 · NIST AI RMF Measure",
        numbers.evaluations,
    ),
    Rule(
        "order",
        "Is each event said once, by its role, after what it follows from, at a plausible time?",
        "NIST AU-8, AU-12 · HIPAA 164.312(b) · EU AI Act 12",
        order.order,
    ),
    Rule(
        "refusals",
        "Did nothing come of what was refused or rejected, or had failed?",
        "SOC 2 CC7.2 · NIST AC-3, IR-4",
        approval.refusals,
    ),
    Rule(
        "log",
        "Do all entries hash to the signed root?",
        "SOC 2 CC7.2 · ISO 27001 A.8.15 · NIST AU-9, AU-10 · HIPAA 164.312(c)",
        order.log,
    ),
    Rule(
        "rollback",
        "Does the log go on from what somebody else saw of it?",
        "NIST AU-9, AU-10",
        order.rollback,
    ),
    Rule(
        "looks",
        "Did key holders look at, or export, outputs of this run only?",
        "SOC 2 CC6.1 · HIPAA 164.312(b) · NIST AC-6(9)",
        access.looks,
    ),
    Rule(
        "memory",
        "Does the trained model know planted secrets no better than luck explains?",
        "NIST AI RMF Measure 2.10",
        numbers.memory,
    ),
    Rule(
        "replay",
        "Was the run done again from its plan, with the same result?",
        "NIST SI-7 · NIST AI RMF Measure",
        objects.replay,
    ),
    Rule(
        "deletions",
        "Was nothing deleted or replaced in the buckets?",
        "GDPR 17, 30 · ISO 27001 A.8.10 · NIST AU-9",
        access.deletions,
    ),
    Rule(
        "retention",
        "How long are log and outputs kept?",
        "EU AI Act 19 · ISO 27001 A.8.10, A.8.15 · NIST AU-11",
        access.retention,
        ("customer", "fail", "not tested"),
    ),
    Rule(
        "hardware",
        "Does hardware isolate the enclave from its host?",
        "NIST SC-39(1)",
        walls.hardware,
        ("not tested", "fail"),
    ),
    Rule(
        "roles",
        "Can no role hold both plaintext and a network?",
        "NIST AC-5, SC-7 · SOC 2 CC6.1",
        walls.roles,
        ("by design",),
    ),
    Rule(
        "people",
        "Who administers machine, buckets and key services, and whose are they?",
        "SOC 2 CC6.2 to CC6.5 · ISO 27001 A.7, A.8.2",
        people,
        ("customer",),
    ),
)
"""Every control, in the order in which the report shows them."""


def control_matrix(case: Case) -> tuple[Control, ...]:
    """The rows for one run."""
    return tuple(rule.judge(case) for rule in CONTROLS)
