# What the service may do, and nothing that its adapters do not do: a test compares this with what they ask for.
locals {
  # Where the keys of changes of scale are (tools/serving/replicas.py).
  scaling_record = "oppen-scaling"
  # How each model's trainings are bought (tools/jobs/buying.py).
  capacity_record = "oppen-capacity"

  rights_on_jobs = [
    { api_groups = ["batch"], resources = ["jobs"], resource_names = null, verbs = ["create", "get", "list", "watch", "patch"] },
    { api_groups = [""], resources = ["pods"], resource_names = null, verbs = ["list", "watch"] },
    { api_groups = [""], resources = ["pods/log"], resource_names = null, verbs = ["get"] },
    { api_groups = [""], resources = ["events"], resource_names = null, verbs = ["list"] },
    { api_groups = [""], resources = ["configmaps"], resource_names = null, verbs = ["create", "get"] },
    { api_groups = [""], resources = ["configmaps"], resource_names = [local.capacity_record], verbs = ["patch"] },
  ]

  rights_on_serving = [
    { api_groups = [""], resources = ["configmaps"], resource_names = concat(var.serving.config_maps, [local.scaling_record]), verbs = ["get", "patch"] },
    { api_groups = ["apps"], resources = ["deployments/scale"], resource_names = var.serving.deployments, verbs = ["get", "patch"] },
  ]

  # Of a Canary that is made, the name cannot be granted.
  rights_on_rollouts = [
    { api_groups = ["flagger.app"], resources = ["canaries"], resource_names = var.serving.canaries, verbs = ["get", "patch"] },
    { api_groups = ["flagger.app"], resources = ["canaries"], resource_names = null, verbs = ["create", "list"] },
    { api_groups = ["flagger.app"], resources = ["metrictemplates"], resource_names = null, verbs = ["create"] },
  ]
}
