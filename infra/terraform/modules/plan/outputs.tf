output "labels" {
  value = local.labels
}

output "namespaces" {
  value = {
    service = { name = var.namespace, labels = merge(local.labels, local.secured) }
    jobs    = { name = var.jobs_namespace, labels = merge(local.labels, local.secured) }
  }

  precondition {
    condition     = var.namespace != var.jobs_namespace
    error_message = "jobs_namespace: jobs live apart from the service, so that they cannot reach its secrets."
  }
}

output "quota" {
  value = {
    "requests.cpu"               = tostring(var.jobs.total_cpu)
    "limits.cpu"                 = tostring(var.jobs.total_cpu)
    "requests.memory"            = var.jobs.total_memory
    "limits.memory"              = var.jobs.total_memory
    "requests.${local.gpu}"      = tostring(var.jobs.total_gpus)
    "requests.ephemeral-storage" = var.jobs.total_storage
    "count/jobs.batch"           = tostring(var.jobs.total_jobs)
    "count/configmaps"           = tostring(var.jobs.total_jobs + 10)
    "pods"                       = tostring(var.jobs.total_jobs * 2)
    "services"                   = "0"
    "count/deployments.apps"     = "0"
  }
}

output "limits" {
  value = {
    default = { cpu = tostring(var.jobs.default_cpu), memory = var.jobs.default_memory }
    max = {
      cpu         = tostring(var.jobs.most_cpu)
      memory      = var.jobs.most_memory
      (local.gpu) = tostring(var.jobs.most_gpus)
    }
  }
}

output "rights" {
  value = {
    jobs    = local.rights_on_jobs
    service = concat(local.rights_on_serving, length(var.serving.canaries) > 0 ? local.rights_on_rollouts : [])
  }
}

output "priorities" {
  value = {
    "oppen-serving" = {
      value             = 100000
      preemption_policy = "PreemptLowerPriority"
      description       = "Answers to users: takes the place of training where there is not enough."
    }
    "oppen-gpu-training" = {
      value             = 2000
      preemption_policy = "Never"
      description       = "Training on the dear machines: starts before other training, and ends none."
    }
    "oppen-training" = {
      value             = 1000
      preemption_policy = "Never"
      description       = "Training: waits for its turn."
    }
  }
}

output "gpu_taints" {
  description = "Keeps what has no use for a GPU off its node; jobs that ask for one tolerate it."
  value       = [{ key = local.gpu, value = "present", effect = "NoSchedule" }]
}

output "gpu_node_selector" {
  value = { (var.gpu_pool.label) = var.gpu_pool.value }
}

output "scaling_record" {
  value = local.scaling_record
}

output "capacity_record" {
  value = local.capacity_record
}

output "callers" {
  value = distinct(concat([var.jobs_namespace], var.network.callers))
}

output "egress" {
  value = {
    service = concat(local.api_server, var.network.service_egress)
    jobs    = var.network.job_egress
  }
}
