{{/* What the pods have in common. */}}

{{/* metadata of a pod: root, component, pool (optional), of (the component's values), annotations (optional). */}}
{{- define "printworks.podMetadata" -}}
labels:
  {{- include "printworks.selector" . | nindent 2 }}
  {{- with merge (dict) .of.podLabels .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default (dict) .annotations) .of.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A change of what the chart itself tells a pod brings new ones: root, secrets (those that it is given, besides Redis'). */}}
{{- define "printworks.checksums" -}}
checksum/settings: {{ include "printworks.settings" .root | sha256sum }}
{{- with .root.Values.redis }}
checksum/secrets: {{ list .password .external .sentinel.password $.secrets | toJson | sha256sum }}
{{- end }}
{{- end }}

{{/* Says that moving the pod loses nothing, although it has volumes of its own. */}}
{{- define "printworks.evictable" -}}
cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
{{- end }}

{{/* Who it runs as: root. */}}
{{- define "printworks.identity" -}}
serviceAccountName: {{ include "printworks.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where it runs: root, component, pool (optional), of, node (optional: the one that it must be on). */}}
{{- define "printworks.placement" -}}
{{- with merge (dict) (ternary (dict "kubernetes.io/hostname" .node) (dict) (ne "" (default "" .node))) .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels:
        {{- include "printworks.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A container of one of our images, until its environment: root, name, image, words. */}}
{{- define "printworks.container" -}}
- name: {{ .name }}
  image: {{ include "printworks.image" (dict "registry" .root.Values.images.registry "image" .image "default" .root.Chart.AppVersion) }}
  {{- with .image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  args: {{ toJson .words }}
  securityContext:
    {{- toYaml .root.Values.containerSecurityContext | nindent 4 }}
{{- end }}

{{/* A probe: path, port, every (seconds), times. */}}
{{- define "printworks.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port }}}
periodSeconds: {{ .every }}
timeoutSeconds: 5
failureThreshold: {{ .times }}
{{- end }}

{{/* A volume's source: source (data, or models.cache), claim (its name unless it is an existing one's). */}}
{{- define "printworks.volumeSource" -}}
{{- if eq .source.type "claim" }}
persistentVolumeClaim:
  claimName: {{ default .claim .source.claim.existingClaim }}
{{- else if eq .source.type "hostPath" }}
hostPath:
  path: {{ .source.hostPath }}
  type: Directory
{{- else }}
emptyDir:
  sizeLimit: {{ .source.emptyDirSize }}
{{- end }}
{{- end }}

{{- define "printworks.tmpVolume" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSize }}
{{- end }}

{{- define "printworks.dataVolume" -}}
- name: data
  {{- include "printworks.volumeSource" (dict "source" .Values.data "claim" (printf "%s-data" (include "printworks.fullname" .))) | nindent 2 }}
{{- end }}

{{- define "printworks.modelsVolume" -}}
- name: models
  {{- include "printworks.volumeSource" (dict "source" .Values.models.cache "claim" (printf "%s-models" (include "printworks.fullname" .))) | nindent 2 }}
{{- end }}

{{- define "printworks.modelsFileVolume" -}}
{{- if .Values.models.list }}
- name: models-file
  configMap:
    name: {{ include "printworks.fullname" . }}-models
{{- end }}
{{- end }}

{{- define "printworks.modelsFileMount" -}}
{{- if .Values.models.list }}
- {name: models-file, mountPath: /etc/printworks/models, readOnly: true}
{{- end }}
{{- end }}

{{/* What a PodDisruptionBudget says: root, component, pool (optional), pdb. Pods that are not ready hold up no drain. */}}
{{- define "printworks.disruption" -}}
maxUnavailable: {{ .pdb.maxUnavailable }}
unhealthyPodEvictionPolicy: AlwaysAllow
selector:
  matchLabels:
    {{- include "printworks.selector" . | nindent 4 }}
{{- end }}

{{/* How many pods: as values say, or, where an autoscaler does, as many as there are. A Deployment that lost its count would
have one: root, name (after the full name), of. */}}
{{- define "printworks.replicas" -}}
{{- if .of.autoscaling.enabled }}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace (printf "%s-%s" (include "printworks.fullname" .root) .name) }}
{{- with $live }}replicas: {{ int .spec.replicas }}{{ end }}
{{- else }}replicas: {{ int .of.replicas }}{{ end }}
{{- end }}
