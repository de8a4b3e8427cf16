//! Volumes of a pod.

use super::container::{OBJECT_FIELD_SELECTOR, RESOURCE_FIELD_SELECTOR};
use crate::schema::{
    Lit, Object,
    Type::{Any, Bool, Enum, Int32, Int64, Object as Obj, Objects, Quantity, Str},
    f, object,
};

pub(super) static VOLUME_MOUNT: Object = object(
    "io.k8s.api.core.v1.VolumeMount",
    &[
        f("mountPath", Str).required(),
        f("mountPropagation", Enum(&["None", "HostToContainer", "Bidirectional"]))
            .only(&["None"], "mounts do not propagate"),
        f("name", Str).required(),
        f("readOnly", Bool),
        f("recursiveReadOnly", Enum(&["Disabled", "IfPossible", "Enabled"]))
            .only(&["Disabled", "IfPossible"], "read-only holds for the volume itself"),
        f("subPath", Str),
        f("subPathExpr", Str).refused("use subPath"),
    ],
);

pub(super) static KEY_TO_PATH: Object = object(
    "io.k8s.api.core.v1.KeyToPath",
    &[f("key", Str).required(), f("mode", Int32), f("path", Str).required()],
);

pub(super) static CONFIG_MAP_VOLUME_SOURCE: Object = object(
    "io.k8s.api.core.v1.ConfigMapVolumeSource",
    &[
        f("defaultMode", Int32).default(Lit::Int(420)),
        f("items", Objects(&KEY_TO_PATH)),
        f("name", Str).required(),
        f("optional", Bool),
    ],
);

pub(super) static DOWNWARD_API_VOLUME_FILE: Object = object(
    "io.k8s.api.core.v1.DownwardAPIVolumeFile",
    &[
        f("fieldRef", Obj(&OBJECT_FIELD_SELECTOR)),
        f("mode", Int32),
        f("path", Str).required(),
        f("resourceFieldRef", Obj(&RESOURCE_FIELD_SELECTOR)),
    ],
);

pub(super) static DOWNWARD_API_VOLUME_SOURCE: Object = object(
    "io.k8s.api.core.v1.DownwardAPIVolumeSource",
    &[
        f("defaultMode", Int32).default(Lit::Int(420)),
        f("items", Objects(&DOWNWARD_API_VOLUME_FILE)),
    ],
);

pub(super) static EMPTY_DIR_VOLUME_SOURCE: Object = object(
    "io.k8s.api.core.v1.EmptyDirVolumeSource",
    &[
        f("medium", Str).ignored("the volume is a directory on the disk of this machine"),
        f("sizeLimit", Quantity).ignored("Palisade does not limit what containers use"),
    ],
);

pub(super) static CONFIG_MAP_PROJECTION: Object = object(
    "io.k8s.api.core.v1.ConfigMapProjection",
    &[f("items", Objects(&KEY_TO_PATH)), f("name", Str).required(), f("optional", Bool)],
);

pub(super) static DOWNWARD_API_PROJECTION: Object = object(
    "io.k8s.api.core.v1.DownwardAPIProjection",
    &[f("items", Objects(&DOWNWARD_API_VOLUME_FILE))],
);

pub(super) static SECRET_PROJECTION: Object = object(
    "io.k8s.api.core.v1.SecretProjection",
    &[f("items", Objects(&KEY_TO_PATH)), f("name", Str).required(), f("optional", Bool)],
);

pub(super) static SERVICE_ACCOUNT_TOKEN_PROJECTION: Object = object(
    "io.k8s.api.core.v1.ServiceAccountTokenProjection",
    &[
        f("audience", Str),
        f("expirationSeconds", Int64).default(Lit::Int(3600)),
        f("path", Str).required(),
    ],
);

pub(super) static VOLUME_PROJECTION: Object = object(
    "io.k8s.api.core.v1.VolumeProjection",
    &[
        f("clusterTrustBundle", Any).refused("trust bundles come from the mesh"),
        f("configMap", Obj(&CONFIG_MAP_PROJECTION)),
        f("downwardAPI", Obj(&DOWNWARD_API_PROJECTION)),
        f("secret", Obj(&SECRET_PROJECTION)),
        f("serviceAccountToken", Obj(&SERVICE_ACCOUNT_TOKEN_PROJECTION)),
    ],
);

pub(super) static PROJECTED_VOLUME_SOURCE: Object = object(
    "io.k8s.api.core.v1.ProjectedVolumeSource",
    &[f("defaultMode", Int32).default(Lit::Int(420)), f("sources", Objects(&VOLUME_PROJECTION))],
);

pub(super) static SECRET_VOLUME_SOURCE: Object = object(
    "io.k8s.api.core.v1.SecretVolumeSource",
    &[
        f("defaultMode", Int32).default(Lit::Int(420)),
        f("items", Objects(&KEY_TO_PATH)),
        f("optional", Bool),
        f("secretName", Str),
    ],
);

pub(super) static VOLUME: Object = object(
    "io.k8s.api.core.v1.Volume",
    &[
        f("awsElasticBlockStore", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("azureDisk", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("azureFile", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("cephfs", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("cinder", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("configMap", Obj(&CONFIG_MAP_VOLUME_SOURCE)),
        f("csi", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("downwardAPI", Obj(&DOWNWARD_API_VOLUME_SOURCE)),
        f("emptyDir", Obj(&EMPTY_DIR_VOLUME_SOURCE)),
        f("ephemeral", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("fc", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("flexVolume", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("flocker", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("gcePersistentDisk", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("gitRepo", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("glusterfs", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("hostPath", Any).refused("pods never see the files of the host"),
        f("image", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("iscsi", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("name", Str).required(),
        f("nfs", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("persistentVolumeClaim", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("photonPersistentDisk", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("portworxVolume", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("projected", Obj(&PROJECTED_VOLUME_SOURCE)),
        f("quobyte", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("rbd", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("scaleIO", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("secret", Obj(&SECRET_VOLUME_SOURCE)),
        f("storageos", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
        f("vsphereVolume", Any)
            .refused("supported are configMap, downwardAPI, emptyDir, projected and secret"),
    ],
);

pub(super) static VOLUME_MOUNT_STATUS: Object = object(
    "io.k8s.api.core.v1.VolumeMountStatus",
    &[
        f("mountPath", Str).required(),
        f("name", Str).required(),
        f("readOnly", Bool),
        f("recursiveReadOnly", Str),
    ],
);
